//! What must not work, and leave nothing behind.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use criu_engine::Stage;
use criu_images::messages::{CoreEntry, InventoryEntry, PluginsEntry, core_entry};
use criu_images::{ImageDir, Kind};

use crate::arena::{Quiet, fork, nothing_is_left, options, restore_in_worker, wait};
use crate::transposed::transpose;
use crate::{CaseResult, Outcome};

/// The restore must fail with all of these words and leave nothing.
fn refused(images: &Path, words: &[&str]) -> Result<(), String> {
    match restore_in_worker(images, false, Quiet::default()) {
        Ok(pid) => return Err(format!("restored as {pid}")),
        Err(e) => {
            if let Some(missing) = words.iter().find(|w| !e.contains(**w)) {
                return Err(format!("{e:?} does not say {missing:?}"));
            }
        }
    }
    nothing_is_left()
}

pub fn no_inventory() -> CaseResult {
    let images = transpose("task")?;
    fs::remove_file(images.join("inventory.img")).map_err(|e| e.to_string())?;
    refused(&images, &["inventory.img", "no complete checkpoint"])?;
    Ok(Outcome::Passed)
}

pub fn truncated_images() -> CaseResult {
    let images = transpose("task")?;
    for file in
        ["pstree.img", "core-2982.img", "mm-2982.img", "pagemap-2982.img", "pages-1.img", "files.img", "fs-2982.img"]
    {
        let path = images.join(file);
        let whole = fs::read(&path).map_err(|e| e.to_string())?;
        for len in [0, 6, whole.len() / 2, whole.len() - 1] {
            fs::write(&path, &whole[..len]).map_err(|e| e.to_string())?;
            refused(&images, &[file]).map_err(|e| format!("{file} of {len} bytes: {e}"))?;
        }
        fs::write(&path, &whole).map_err(|e| e.to_string())?;
    }
    Ok(Outcome::Passed)
}

pub fn pid_taken() -> CaseResult {
    let images = transpose("task")?;
    let next = Path::new("/proc/sys/kernel/ns_last_pid");
    fs::write(next, "2981").map_err(|e| format!("ns_last_pid: {e}"))?;
    let squatter = fork(|| {
        std::thread::sleep(Duration::from_secs(60));
        true
    })?;
    if squatter != 2982 {
        return Err(format!("the squatter got pid {squatter}"));
    }
    let said = restore_in_worker(&images, false, Quiet::default());
    let is_alive = Path::new("/proc/2982").exists();
    if let Some(p) = rustix::process::Pid::from_raw(squatter) {
        rustix::process::kill_process(p, rustix::process::Signal::KILL).ok();
    }
    wait(squatter);
    match said {
        Err(e) if e.contains("errno 17") && e.contains("2982") && is_alive => {
            nothing_is_left()?;
            Ok(Outcome::Passed)
        }
        other => Err(format!("{other:?}, the squatter alive: {is_alive}")),
    }
}

pub fn other_architecture() -> CaseResult {
    let images = transpose("task")?;
    let dir = ImageDir::new(fs::File::open(&images).map_err(|e| e.to_string())?.into());
    let mut core: CoreEntry = dir.read_one(Kind::Core, 2982).map_err(|e| e.to_string())?;
    core.mtype = core_entry::March::Aarch64 as i32;
    dir.write_one(Kind::Core, 2982, &core).map_err(|e| e.to_string())?;
    refused(&images, &["core-2982.img", "AARCH64"])?;
    Ok(Outcome::Passed)
}

/// What a plugin has saved is known to nobody else.
pub fn saved_by_a_plugin() -> CaseResult {
    let images = transpose("task")?;
    let dir = ImageDir::new(fs::File::open(&images).map_err(|e| e.to_string())?.into());
    let mut inventory: InventoryEntry = dir.read_one(Kind::Inventory, 0).map_err(|e| e.to_string())?;
    inventory.plugins_entry = Some(PluginsEntry { plugins: vec!["cuda_plugin".into()] });
    dir.write_one(Kind::Inventory, 0, &inventory).map_err(|e| e.to_string())?;
    refused(&images, &["inventory.img", "cuda_plugin"])?;
    Ok(Outcome::Passed)
}

pub fn missing_file() -> CaseResult {
    let images = transpose("tree")?;
    fs::remove_file("/tmp/golden").map_err(|e| e.to_string())?;
    refused(&images, &["/tmp/golden", "No such file"])?;
    Ok(Outcome::Passed)
}

pub fn failing_callback() -> CaseResult {
    let stages = [Stage::PreRestore, Stage::SetupNamespaces, Stage::PostRestore, Stage::PreResume];
    let all = ["tree", "threads"].map(|tree| [false, true].map(|sibling| stages.map(|stage| (tree, sibling, stage))));
    for (tree, sibling, stage) in all.into_iter().flatten().flatten() {
        let images = transpose(tree)?;
        let start = Instant::now();
        match restore_in_worker(&images, sibling, Quiet { fail_at: Some(stage) }) {
            Err(e) if e.contains("said no") => nothing_is_left().map_err(|e| format!("{stage:?}: {e}"))?,
            other => return Err(format!("{stage:?}: {other:?}")),
        }
        // Traced threads have to be waited for one by one, those below another's child by that other: without that, it is only the
        // patience with killed tasks that ends this.
        if start.elapsed() > Duration::from_secs(5) {
            return Err(format!("{tree}, sibling {sibling}, {stage:?}: taking it down took {:?}", start.elapsed()));
        }
        fs::remove_dir_all(images).map_err(|e| e.to_string())?;
    }
    Ok(Outcome::Passed)
}

/// At every moment: either nothing is there, or all of the tree.
pub fn killed_engine() -> CaseResult {
    let images = transpose("tree")?;
    let (mut nothing, mut all) = (0, 0);
    // How long it takes when nobody disturbs it.
    let start = Instant::now();
    restore_in_worker(&images, false, Quiet::default())?;
    let usual = start.elapsed();
    kill_all(&crate::arena::others())?;
    for delay in (0..60).map(|n| usual * n / 40) {
        let options = options(&images, false)?;
        let worker = fork(move || criu_engine::restore(&options, &mut Quiet::default()).is_ok())?;
        std::thread::sleep(delay);
        if let Some(p) = rustix::process::Pid::from_raw(worker) {
            rustix::process::kill_process(p, rustix::process::Signal::KILL).ok();
        }
        wait(worker);
        // Most often long enough for killed tasks to be gone.
        std::thread::sleep(Duration::from_millis(100));
        let until = Instant::now() + crate::arena::PATIENCE;
        loop {
            let mut left = crate::arena::others();
            left.sort_unstable();
            if left.is_empty() {
                nothing += 1;
                break;
            }
            if left == [3327, 3329, 3330, 3331] {
                all += 1;
                kill_all(&left)?;
                break;
            }
            if Instant::now() > until {
                return Err(format!("killed after {delay:?}: left behind: {left:?}"));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
    if nothing == 0 || all == 0 {
        return Ok(Outcome::Skipped(format!("the moments did not fall on both sides: {nothing} before, {all} after")));
    }
    Ok(Outcome::Passed)
}

fn kill_all(pids: &[i32]) -> Result<(), String> {
    for pid in pids.iter().filter_map(|&p| rustix::process::Pid::from_raw(p)) {
        rustix::process::kill_process(pid, rustix::process::Signal::KILL).ok();
    }
    nothing_is_left()
}
