//! Regular files and their like: the entry.

use std::os::fd::AsFd;
use std::os::unix::ffi::OsStringExt;

use criu_images::messages::{FdTypes, FileEntry, RegFileEntry};
use rustix::fs::{Stat, fstatfs, major, minor};

use super::build_id::build_id;
use super::{kmsg, pressure};
use crate::error::{Blocker, Result};
use crate::file::FileId;
use crate::file::collect::Collected;
use crate::file::fdinfo::FdInfo;
use crate::file::ghost::{remap, reopen};
use crate::file::kind::{DumpKind, Unsaved};
use crate::file::path::{Place, lstat, place, shown};
use crate::file::seen::Seen;
use crate::sys::kernel::Kernel;

/// A file below /proc/PID.
#[derive(Debug)]
struct ProcFile {
    id: FileId,
    task: i32,
    pid: i32,
    object: String,
}

#[derive(Debug, Default)]
pub(crate) struct Regular {
    proc_files: Vec<ProcFile>,
}

impl DumpKind for Regular {
    fn claims(&self, seen: &Seen<'_>) -> bool {
        match seen.file_type() {
            libc::S_IFREG | libc::S_IFDIR | libc::S_IFCHR | libc::S_IFBLK => seen.link.starts_with(b"/"),
            _ => seen.is_o_path() && seen.link.starts_with(b"/"),
        }
    }

    fn collect(&mut self, seen: &Seen<'_>, id: FileId, common: &mut Collected) -> Result<FileEntry, Unsaved> {
        check_secret(seen)?;
        if !seen.is_o_path() {
            check_device(seen)?;
            check_notification(seen)?;
        }
        let mut reg = entry(seen, id, common)?;
        if kmsg::is_reader(seen.stat.st_mode, seen.stat.st_rdev, seen.info.flags) && !reg.ext() {
            reg.pos = kmsg::place(seen)?;
        }
        if seen.fd >= 0 && !seen.is_o_path() && !reg.ext() {
            reg.pressure = pressure::asked(seen)?;
        }
        if let Some((task, rest)) = proc_task(&reg.name)
            && seen.fd >= 0
        {
            check_proc(task, rest)?;
            if common.ghosts.is_of_dead(id) {
                return Ok(FileEntry {
                    r#type: FdTypes::Reg as i32,
                    id,
                    reg: Some(reg.into()),
                    ..FileEntry::default()
                });
            }
            self.proc_files.push(ProcFile { id, task, pid: seen.holder_pid, object: seen.object() });
        }
        Ok(FileEntry { r#type: FdTypes::Reg as i32, id, reg: Some(reg.into()), ..FileEntry::default() })
    }

    fn resolve(&mut self, common: &mut Collected, blockers: &mut Vec<Blocker>) -> Result<()> {
        for file in &self.proc_files {
            let mut refuse = |cause: String, hint: &str| {
                blockers.push(Blocker::new(file.pid, &*file.object, cause).hint(hint));
            };
            if !common.tasks.values().any(|&vpid| vpid == file.task) {
                let cause = format!("it belongs to process {}, which is outside the tree", file.task);
                refuse(cause, "close it before the dump");
            } else if common.in_messages.contains(&file.id) && common.tables.len() > 1 {
                // Messages that several tasks can read are filled before the tasks exist.
                let cause = "a /proc file of a task is in a message that was not read yet; this cannot be saved";
                refuse(cause.into(), "have the message read before the dump");
            }
        }
        Ok(())
    }
}

/// Refuses memory that nobody but its owner can read: it has a name like a file's.
fn check_secret(seen: &Seen<'_>) -> Result<(), Unsaved> {
    const SECRETMEM_MAGIC: rustix::fs::FsWord = 0x5345_434d;
    let is_secret =
        seen.link.starts_with(b"/secretmem") && fstatfs(&seen.dup).is_ok_and(|f| f.f_type == SECRETMEM_MAGIC);
    if is_secret {
        return Err(Unsaved::because("secret memory (memfd_secret) cannot be saved").hint("close it before the dump"));
    }
    Ok(())
}

/// Refuses a directory that tells of its changes by signals: of those that F_NOTIFY asks for nothing but the owner of the
/// signals can be seen.
fn check_notification(seen: &Seen<'_>) -> Result<(), Unsaved> {
    if seen.file_type() != libc::S_IFDIR || seen.fown.pid == 0 {
        return Ok(());
    }
    let is_watched = Kernel::open().and_then(|kernel| {
        let inode = kernel.number(kernel.file(seen.dup.as_fd())?, "file", "f_inode")?;
        kernel.number(inode, "inode", "i_fsnotify_mask")
    });
    if is_watched.is_ok_and(|mask| mask == 0) {
        return Ok(());
    }
    Err(Unsaved::because("a directory that signals its changes (F_NOTIFY) cannot be saved")
        .hint("close it before the dump; inotify(7) is kept"))
}

/// The process that a path below /proc names, and what follows.
pub(super) fn proc_task(name: &[u8]) -> Option<(i32, &str)> {
    let rest = std::str::from_utf8(name.strip_prefix(b"/proc/")?).ok()?;
    let (pid, rest) = rest.split_once('/').unwrap_or((rest, ""));
    Some((pid.parse().ok().filter(|&p| p > 0)?, rest))
}

/// Refuses what will not be there when the files of a restored task are opened.
fn check_proc(task: i32, rest: &str) -> Result<(), Unsaved> {
    let (first, below) = rest.split_once('/').unwrap_or((rest, ""));
    let own_thread = below.split('/').next().is_some_and(|tid| tid.is_empty() || tid.parse() == Ok(task));
    let moves = match first {
        "task" => !own_thread,
        "fd" | "fdinfo" | "map_files" => !below.is_empty(),
        _ => false,
    };
    if moves {
        return Err(
            Unsaved::because("a /proc file of a thread or descriptor cannot be saved").hint("close it before the dump")
        );
    }
    Ok(())
}

/// The entry of whatever `seen`'s path leads to; makes it a ghost when the name is gone.
pub(crate) fn entry(seen: &Seen<'_>, id: FileId, common: &mut Collected) -> Result<RegFileEntry, Unsaved> {
    let key = format!("file[{:x}:{:x}]", seen.info.mnt_id, seen.stat.st_ino);
    if seen.fd >= 0 && common.opts.external.contains(&key) {
        // Whoever restores it gives it by this name.
        let (flags, pos, mode) = (seen.info.flags, seen.info.pos, Some(seen.stat.st_mode));
        let entry = RegFileEntry { id, flags, pos, fown: seen.fown, mode, ..RegFileEntry::default() };
        return Ok(RegFileEntry { name: format!("/{key}").into_bytes(), ext: Some(true), ..entry });
    }
    let (mut place, mut mode) = (place(&seen.link, &seen.stat), seen.stat.st_mode);
    if common.opts.evasive_devices()
        && !matches!(place, Place::Here(_) | Place::Gone(_))
        && let Some((node, there)) = device_node(&seen.stat)
    {
        (place, mode) = (Place::Here(node), there);
    }
    let may_be_detached = match &place {
        // What is the root of its mount says so wherever that is.
        Place::Here(name) => seen.is_o_path() && name == b"/",
        Place::Gone(_) => false,
        _ => true,
    };
    if may_be_detached && is_detached(seen) {
        let cause =
            "it is on a mount of another namespace, or on one that is attached nowhere (fsmount, open_tree, umount -l)";
        return Err(Unsaved::because(cause)
            .hint("dump inside its mount namespace if it has one, else close it before the dump"));
    }
    if !matches!(place, Place::Here(_)) && is_message_queue(seen)? {
        return Err(Unsaved::because("a POSIX message queue cannot be saved").hint("close it before the dump"));
    }
    let name = match place {
        Place::Here(name) => name,
        Place::Gone(name) | Place::Hidden(name) if seen.fd >= 0 && is_of_dead(&name) => {
            if seen.info.pos != 0 {
                // The rest of what was read at the time waits in the kernel.
                let cause = "a /proc file of a process that is gone, read in part";
                return Err(Unsaved::because(cause).hint("close it before the dump"));
            }
            common.ghosts.add_of_dead(id, proc_task(&name).map_or(0, |task| task.0));
            name
        }
        Place::Gone(name) | Place::Hidden(name) if proc_task(&name).is_some() => {
            return Err(Unsaved::because("a /proc file of a process that is gone").hint("close it before the dump"));
        }
        Place::Gone(name) => {
            if is_read_only(seen)? {
                let cause = format!("its name {} is gone, and its file system is read-only", shown(&name));
                return Err(Unsaved::because(cause).hint("mount it writable, or close the file before the dump"));
            }
            remap(common, seen, id, &name)?;
            name
        }
        Place::Other(name) => {
            let cause = format!("another file is at {} now: it was replaced or mounted over", shown(&name));
            return Err(Unsaved::because(cause).hint("put the file back at its path"));
        }
        Place::Hidden(name) => {
            return Err(Unsaved::because(format!("nothing is at {} now: it was mounted over", shown(&name)))
                .hint("make its path lead to it again"));
        }
        Place::Unreachable(name) => {
            return Err(Unsaved::because(format!("{} is no path that leads to it", shown(&name)))
                .hint("dump inside its mount namespace"));
        }
    };
    let regular = seen.file_type() == libc::S_IFREG;
    Ok(RegFileEntry {
        id,
        flags: seen.info.flags,
        pos: seen.info.pos,
        fown: seen.fown,
        name,
        size: regular.then_some(seen.stat.st_size as u64),
        mode: Some(mode),
        build_id: if regular && seen.fd < 0 {
            reopen(seen).map(|f| build_id(f.as_fd())).unwrap_or_default()
        } else {
            vec![]
        },
        ..RegFileEntry::default()
    })
}

/// The entry of a descriptor of an ordinary file that is at its path.
pub(crate) fn plain(id: FileId, name: Vec<u8>, info: &FdInfo, stat: &Stat) -> FileEntry {
    let reg = RegFileEntry {
        id,
        flags: info.flags,
        pos: info.pos,
        name,
        size: Some(stat.st_size as u64),
        mode: Some(stat.st_mode),
        ..RegFileEntry::default()
    };
    FileEntry { r#type: FdTypes::Reg as i32, id, reg: Some(reg.into()), ..FileEntry::default() }
}

/// Another path that leads to the same device, and the mode of its node.
fn device_node(stat: &Stat) -> Option<(Vec<u8>, u32)> {
    let is_device = |mode| matches!(mode & libc::S_IFMT, libc::S_IFCHR | libc::S_IFBLK);
    let is_same =
        |there: &Stat| (there.st_rdev, there.st_mode & libc::S_IFMT) == (stat.st_rdev, stat.st_mode & libc::S_IFMT);
    let nodes = std::fs::read_dir("/dev").ok()?.flatten().map(|node| node.path().into_os_string().into_vec());
    is_device(stat.st_mode).then_some(nodes)?.find_map(|node| {
        let there = lstat(&node).ok().filter(is_same)?;
        Some((node, there.st_mode))
    })
}

/// A file below /proc/PID of a process that is gone.
fn is_of_dead(name: &[u8]) -> bool {
    proc_task(name).is_some_and(|(task, _)| lstat(format!("/proc/{task}").as_bytes()).is_err())
}

/// Nothing could be made there again to stand in for the file.
fn is_read_only(seen: &Seen<'_>) -> Result<bool, Unsaved> {
    let system = rustix::fs::fstatvfs(&seen.dup).map_err(|e| Unsaved::os(seen, "fstatvfs", e))?;
    Ok(system.f_flag.contains(rustix::fs::StatVfsMountFlags::RDONLY))
}

/// Neither the task's list of mounts, of which its root directory may hide some, nor the engine's has the one that it was opened
/// on. The kernel's own, such as that of POSIX message queues, are in none either.
fn is_detached(seen: &Seen<'_>) -> bool {
    let is_own = rustix::fs::fstatfs(&seen.dup).is_ok_and(|system| system.f_type == MQUEUE_MAGIC);
    let id = format!("{} ", seen.info.mnt_id);
    let lists = |whose: String| {
        let mounts = std::fs::read(format!("/proc/{whose}/mountinfo")).unwrap_or_default();
        mounts.is_empty() || mounts.split(|&b| b == b'\n').any(|line| line.starts_with(id.as_bytes()))
    };
    seen.info.mnt_id >= 0 && !is_own && !lists(seen.task.pid.to_string()) && !lists("self".into())
}

const MQUEUE_MAGIC: i64 = 0x1980_0202;

/// What mq_open(3) opened: it looks like a file, and has no path that leads to it.
fn is_message_queue(seen: &Seen<'_>) -> Result<bool, Unsaved> {
    let system = rustix::fs::fstatfs(&seen.dup).map_err(|e| Unsaved::os(seen, "fstatfs", e))?;
    Ok(system.f_type == MQUEUE_MAGIC)
}

/// Devices whose open descriptors have no state: opening the node again is all there is to it.
fn check_device(seen: &Seen<'_>) -> Result<(), Unsaved> {
    let (major, minor) = (major(seen.stat.st_rdev), minor(seen.stat.st_rdev));
    let stateless = match seen.file_type() {
        // null, port, zero, full, random, urandom, kmsg, mem; hwrng
        libc::S_IFCHR => matches!((major, minor), (1, 1 | 3 | 4 | 5 | 7 | 8 | 9 | 11) | (10, 183)),
        libc::S_IFBLK => false,
        _ => true,
    };
    if stateless {
        return Ok(());
    }
    let what = if seen.file_type() == libc::S_IFBLK { "block" } else { "character" };
    Err(Unsaved::because(format!("a {what} device ({major}:{minor}) whose state in the driver cannot be saved"))
        .hint("close it before the dump"))
}
