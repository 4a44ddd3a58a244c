//! Golden checkpoints made to fit this processor: the string functions that the C library chose at the program's start are
//! replaced by those it chooses here, and vector registers that this processor lacks are left out. Everything else is as
//! the images have it.

use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use criu_images::messages::{CoreEntry, PagemapEntry, PagemapHead, SiginfoEntry};
use criu_images::{ImageDir, Kind};

use crate::arena::{Quiet, ask, copy_golden, fork, restore_in_worker, set_up_golden, wait};
use crate::{CaseResult, Outcome};

/// Components of the extended state that every processor with AVX2 has.
const COMMON_STATE: u64 = 0b111;

pub fn restores(name: &str) -> CaseResult {
    let images = transpose(name)?;
    match restore_in_worker(&images, false, Quiet::default()) {
        Ok(pid) => ask(pid, Path::new(&format!("/tmp/golden-{name}.res"))).map(|()| Outcome::Passed),
        Err(e) => Err(e),
    }
}

/// The restored process is the child of whoever started the worker.
pub fn restores_as_sibling() -> CaseResult {
    let images = transpose("tree")?;
    let caller = fork(move || {
        let check = || -> Result<(), String> {
            let pid = restore_in_worker(&images, true, Quiet::default())?;
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).map_err(|e| e.to_string())?;
            let parent = stat.rsplit(") ").next().and_then(|s| s.split(' ').nth(1)).unwrap_or_default().to_owned();
            if parent != std::process::id().to_string() {
                return Err(format!("its parent is {parent}"));
            }
            ask(pid, Path::new("/tmp/golden-tree.res"))
        };
        check().map_err(|e| fs::write("/tmp/why", e)).is_ok()
    })?;
    wait(caller);
    match fs::read_to_string("/tmp/why") {
        Err(_) => Ok(Outcome::Passed),
        Ok(why) => Err(why),
    }
}

/// Somebody sent SIGSTOP while the process stood still for the dump.
pub fn told_to_stop() -> CaseResult {
    let images = transpose("task")?;
    let text = |e: criu_images::ImageError| e.to_string();
    let dir = ImageDir::new(fs::File::open(&images).map_err(|e| e.to_string())?.into());
    let mut core: CoreEntry = dir.read_one(Kind::Core, 2982).map_err(text)?;
    let mut siginfo = vec![0; 128];
    siginfo[..4].copy_from_slice(&libc::SIGSTOP.to_ne_bytes());
    let queue = core.tc.as_mut().ok_or("no task")?.signals_s.get_or_insert_default();
    queue.signals.push(SiginfoEntry { siginfo });
    dir.write_one(Kind::Core, 2982, &core).map_err(text)?;
    let pid = restore_in_worker(&images, false, Quiet::default())?;
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).map_err(|e| e.to_string())?;
    if !stat.contains(") T ") {
        return Err(format!("it does not stand still: {stat}"));
    }
    let target = rustix::process::Pid::from_raw(pid).ok_or("no pid")?;
    rustix::process::kill_process(target, rustix::process::Signal::CONT).map_err(|e| format!("SIGCONT: {e}"))?;
    ask(pid, Path::new("/tmp/golden-task.res")).map(|()| Outcome::Passed)
}

/// A copy of the golden checkpoint that runs on this processor.
pub fn transpose(name: &str) -> Result<PathBuf, String> {
    set_up_golden()?;
    let path = copy_golden(name)?;
    let text = |e: criu_images::ImageError| e.to_string();
    let images = ImageDir::new(fs::File::open(&path).map_err(|e| e.to_string())?.into());
    let program = if ["files", "threads", "tree", "sockets"].contains(&name) { "/tmp/golden" } else { "/tmp/golden2" };
    let case = if program == "/tmp/golden" { "files" } else { "locks" };
    let slots = chosen_functions(program, case)?;
    for entry in fs::read_dir(&path).map_err(|e| e.to_string())? {
        let file = entry.map_err(|e| e.to_string())?.file_name().to_string_lossy().into_owned();
        let id = |prefix: &str| file.strip_prefix(prefix)?.strip_suffix(".img")?.parse::<u64>().ok();
        if let Some(tid) = id("core-") {
            let mut core: CoreEntry = images.read_one(Kind::Core, tid).map_err(text)?;
            if let Some(x) = core.thread_info.as_mut().and_then(|t| t.fpregs.xsave.as_mut()) {
                x.xstate_bv &= COMMON_STATE;
            }
            images.write_one(Kind::Core, tid, &core).map_err(text)?;
        } else if let Some(pid) = id("pagemap-") {
            patch(&images, &path, pid, &slots)?;
        }
    }
    Ok(path)
}

/// Writes the functions' addresses into the pages of one task.
fn patch(images: &ImageDir, path: &Path, pid: u64, slots: &HashMap<u64, u64>) -> Result<(), String> {
    let text = |e: criu_images::ImageError| e.to_string();
    let mut reader = images.require(Kind::Pagemap, pid).map_err(text)?;
    let head: PagemapHead = reader.entry().map_err(text)?.ok_or("an empty pagemap")?;
    let pages = path.join(Kind::Pages.file_name(head.pages_id.into()));
    let pages = fs::File::options().write(true).open(pages).map_err(|e| e.to_string())?;
    let mut offset = 0;
    while let Some(e) = reader.entry::<PagemapEntry>().map_err(text)? {
        let len = e.nr_pages() * 4096;
        for (at, value) in slots.iter().filter(|(at, _)| (e.vaddr..e.vaddr + len).contains(*at)) {
            pages.write_all_at(&value.to_le_bytes(), offset + at - e.vaddr).map_err(|e| e.to_string())?;
        }
        offset += len;
    }
    Ok(())
}

/// Starts the program and reads which functions it has chosen: slot address and function address.
fn chosen_functions(program: &str, case: &str) -> Result<HashMap<u64, u64>, String> {
    let elf = fs::read(program).map_err(|e| e.to_string())?;
    let mut child =
        Command::new(program).args([case, "/tmp/probe.res"]).stdin(Stdio::null()).spawn().map_err(|e| e.to_string())?;
    let syscall = format!("/proc/{}/syscall", child.id());
    let until = Instant::now() + Duration::from_secs(10);
    // 130: it waits in rt_sigsuspend.
    while !fs::read_to_string(&syscall).is_ok_and(|s| s.starts_with("130 ")) {
        if Instant::now() > until {
            child.kill().ok();
            return Err(format!("{program} {case} does not come to rest"));
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    let memory = fs::File::open(format!("/proc/{}/mem", child.id())).map_err(|e| e.to_string())?;
    let mut slots = HashMap::new();
    for at in indirect_slots(&elf) {
        let mut word = [0; 8];
        memory.read_exact_at(&mut word, at).map_err(|e| format!("slot {at:#x}: {e}"))?;
        slots.insert(at, u64::from_le_bytes(word));
    }
    child.kill().ok();
    child.wait().ok();
    set_up_golden()?;
    if slots.is_empty() { Err(format!("{program} has no indirect functions")) } else { Ok(slots) }
}

/// Where R_X86_64_IRELATIVE relocations write to.
fn indirect_slots(elf: &[u8]) -> Vec<u64> {
    const RELA: u64 = 4;
    const IRELATIVE: u64 = 37;
    let word = |at: usize, n: usize| elf[at..at + n].iter().rev().fold(0_u64, |v, b| v << 8 | u64::from(*b));
    let (table, count) = (word(40, 8) as usize, word(60, 2) as usize);
    let mut slots = Vec::new();
    for s in (0..count).map(|i| table + i * 64).filter(|s| word(s + 4, 4) == RELA) {
        let (at, size) = (word(s + 24, 8) as usize, word(s + 32, 8) as usize);
        let relocs = (at..at + size).step_by(24).filter(|r| word(r + 8, 8) & 0xffff_ffff == IRELATIVE);
        slots.extend(relocs.map(|r| word(r, 8)));
    }
    slots
}
