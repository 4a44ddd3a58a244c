//! Facts that stand in several images of a checkpoint: pids, the beginnings of paths, internet addresses.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::{fs, io};

use criu_images::json::{Data, Form, Tree, Value};

use super::{encode, report, save};
use crate::args::Args;
use crate::failure::{Failure, Result};
use crate::input::Input;

/// What is to be replaced, wherever it stands.
enum Change {
    Pid(i128, i128),
    Path(String, String),
    Address(IpAddr, IpAddr),
}

/// No kernel has higher ones.
const HIGHEST_PID: i128 = 1 << 22;
/// Fields that hold pids, of whatever message.
const PIDS: [&str; 8] = ["pid", "ppid", "pgid", "sid", "pgrp", "nspid", "threads", "notify_thread_id"];
/// Images that are named by the pid of a task or thread.
const BY_PID: [&str; 12] =
    ["core", "mm", "pagemap", "fs", "ids", "sigacts", "itimers", "posix-timers", "creds", "rlimit", "vmas", "signal-p"];

pub(super) fn run(args: &Args, dir: &Path) -> Result<u8> {
    let mut changes = Vec::new();
    for (option, make) in
        [("pid", pid as fn(&str, &str) -> Option<Change>), ("path", path as _), ("address", address as _)]
    {
        if let Some(given) = args.get(option) {
            let given = given.to_string_lossy();
            let change = given.split_once('=').and_then(|(old, new)| make(old, new));
            changes.push(change.ok_or_else(|| args.usage(&format!("--{option} {given}: takes OLD=NEW")))?);
        }
    }
    if changes.is_empty() || args.has("out") {
        return Err(args.usage("takes DIR with --pid, --path or --address; the images themselves are changed"));
    }
    let mut images = load(dir)?;
    let mut total = 0;
    for change in &changes {
        if let Change::Pid(old, new) = change {
            check_pids(&images, *old, *new)?;
        }
        let mut changed = 0;
        for image in &mut images {
            let here = apply(change, &mut image.tree);
            image.changed |= here > 0;
            changed += here;
        }
        if changed == 0 {
            return Err(Failure::Said(format!("{}: nothing in the images is {}", dir.display(), change.old())));
        }
        total += changed;
    }
    write(dir, &images, &changes)?;
    report(args, total)
}

struct Image {
    path: PathBuf,
    tree: Value<'static>,
    changed: bool,
}

fn pid(old: &str, new: &str) -> Option<Change> {
    let number = |s: &str| s.parse::<i128>().ok().filter(|p| (1..=HIGHEST_PID).contains(p));
    Some(Change::Pid(number(old)?, number(new)?)).filter(|_| old != new)
}

fn path(old: &str, new: &str) -> Option<Change> {
    let trimmed = |s: &str| s.trim_end_matches('/').to_owned();
    (old.starts_with('/') && new.starts_with('/')).then(|| Change::Path(trimmed(old), trimmed(new)))
}

fn address(old: &str, new: &str) -> Option<Change> {
    let (old, new): (IpAddr, IpAddr) = (old.parse().ok()?, new.parse().ok()?);
    (old.is_ipv4() == new.is_ipv4()).then_some(Change::Address(old, new))
}

impl Change {
    fn old(&self) -> String {
        match self {
            Change::Pid(old, _) => format!("pid {old}"),
            Change::Path(old, _) => format!("path {old}"),
            Change::Address(old, _) => format!("address {old}"),
        }
    }
}

/// Every image but those of raw bytes.
fn load(dir: &Path) -> Result<Vec<Image>> {
    let failed = |source: io::Error| Failure::Read { file: dir.display().to_string(), source };
    let mut images = Vec::new();
    for entry in fs::read_dir(dir).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let is_raw = path.file_name().is_some_and(|n| n.to_string_lossy().starts_with("pages-"));
        if is_raw || path.extension().is_none_or(|e| e != "img") {
            continue;
        }
        let image = Input::read(Some(path.as_os_str()))?;
        match Tree::of(&image.name, &image.bytes, Form::Pretty, true).map_err(|e| image.failure(e)) {
            Ok(tree) => images.push(Image { path, tree, changed: false }),
            Err(Failure::Magic { .. }) => {}
            Err(e) => return Err(e),
        }
    }
    Ok(images)
}

/// A pid that is to be given must be free in the tree, as a pid, thread, group and session.
fn check_pids(images: &[Image], old: i128, new: i128) -> Result<()> {
    let mut taken = BTreeSet::new();
    let tree = images.iter().find(|i| i.path.ends_with("pstree.img"));
    let entries = tree.and_then(|i| i.tree.get("entries"));
    if let Some(Data::List(entries)) = entries.map(|e| &e.data) {
        for entry in entries {
            taken.extend(["pid", "pgid", "sid"].iter().filter_map(|f| entry.get(f)).filter_map(Value::integer));
            if let Some(Data::List(threads)) = entry.get("threads").map(|t| &t.data) {
                taken.extend(threads.iter().filter_map(Value::integer));
            }
        }
    }
    if !taken.contains(&old) {
        return Err(Failure::Said(format!("pid {old}: the checkpoint has no such process or thread")));
    }
    if taken.contains(&new) {
        return Err(Failure::Said(format!("pid {new}: taken by another process or thread of the checkpoint")));
    }
    Ok(())
}

/// Changes what stands in a tree and tells how many times.
fn apply(change: &Change, value: &mut Value<'static>) -> u64 {
    match &mut value.data {
        Data::List(values) => values.iter_mut().map(|v| apply(change, v)).sum(),
        Data::Object(members) => members
            .iter_mut()
            .map(|(name, value)| {
                let name = String::from_utf8_lossy(name).into_owned();
                apply_to(change, &name, value) + apply(change, value)
            })
            .sum(),
        _ => 0,
    }
}

fn apply_to(change: &Change, name: &str, value: &mut Value<'static>) -> u64 {
    match (change, &mut value.data) {
        (Change::Pid(..), Data::List(values)) if name == "threads" => {
            values.iter_mut().map(|v| apply_to(change, name, v)).sum()
        }
        (Change::Pid(old, new), Data::Integer(found)) if PIDS.contains(&name) && found == old => {
            *found = *new;
            1
        }
        (Change::Path(old, new), Data::String(text)) if matches!(name, "name" | "name_dir") => {
            let rest = text.strip_prefix(old.as_bytes()).filter(|r| matches!(r.first(), None | Some(b'/')));
            let Some(rest) = rest else { return 0 };
            let whole = [new.as_bytes(), rest].concat();
            *text = Cow::Owned(if whole.is_empty() { b"/".to_vec() } else { whole });
            1
        }
        (Change::Address(..), Data::List(values)) if matches!(name, "src_addr" | "dst_addr") => {
            values.iter_mut().map(|v| apply_to(change, name, v)).sum()
        }
        (Change::Address(old, new), Data::String(text)) if matches!(name, "src_addr" | "dst_addr") => {
            let found: Option<IpAddr> = std::str::from_utf8(text).ok().and_then(|t| t.parse().ok());
            if found != Some(*old) {
                return 0;
            }
            *text = Cow::Owned(new.to_string().into_bytes());
            1
        }
        _ => 0,
    }
}

/// Every image is made before the first is written.
fn write(dir: &Path, images: &[Image], changes: &[Change]) -> Result<()> {
    let mut made = Vec::new();
    for image in images.iter().filter(|i| i.changed) {
        let bytes = encode(&image.tree).map_err(|e| Failure::Said(format!("{}: {e}", image.path.display())))?;
        made.push((&image.path, bytes));
    }
    let mut renamed = Vec::new();
    for change in changes {
        let Change::Pid(old, new) = change else { continue };
        for kind in BY_PID {
            let [from, to] = [old, new].map(|pid| dir.join(format!("{kind}-{pid}.img")));
            if to.exists() {
                return Err(Failure::Said(format!("{}: there is such an image already", to.display())));
            }
            if from.exists() {
                renamed.push((from, to));
            }
        }
    }
    for (path, bytes) in made {
        save(path.as_os_str(), &bytes)?;
    }
    for (from, to) in renamed {
        fs::rename(&from, &to).map_err(|source| Failure::Write { file: to.display().to_string(), source })?;
    }
    Ok(())
}
