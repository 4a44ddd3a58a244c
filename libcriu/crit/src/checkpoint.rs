//! A whole images directory, as far as the views of it need it.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::File;

use criu_images::kind::Kind;
use criu_images::messages::{CoreEntry, FdinfoEntry, FileEntry, MmEntry, PstreeEntry, TaskKobjIdsEntry};
use criu_images::{ImageDir, ImageError};

use crate::failure::{Failure, Result};

pub(crate) struct Checkpoint {
    pub(crate) dir: ImageDir,
    pub(crate) tasks: Vec<Task>,
    files: BTreeMap<u32, FileEntry>,
}

/// A process of the tree.
pub(crate) struct Task {
    pub(crate) tree: PstreeEntry,
    /// The leader's; a task that had ended has none but this.
    pub(crate) core: Option<CoreEntry>,
    /// How far below the root it is.
    pub(crate) depth: usize,
}

/// An images directory by its path.
pub(crate) fn open_dir(path: &OsStr) -> Result<ImageDir> {
    let named = |source| Failure::Read { file: path.to_string_lossy().into_owned(), source };
    let dir = File::open(path).map_err(named)?;
    if !dir.metadata().map_err(named)?.is_dir() {
        return Err(named(std::io::Error::from(std::io::ErrorKind::NotADirectory)));
    }
    Ok(ImageDir::new(dir.into()))
}

impl Checkpoint {
    pub(crate) fn open(path: &OsStr) -> Result<Checkpoint> {
        let dir = open_dir(path)?;
        let entries: Vec<PstreeEntry> = dir.read_all(Kind::Pstree, 0)?;
        if entries.is_empty() {
            return Err(ImageError::Missing { file: Kind::Pstree.file_name(0) }.into());
        }
        let mut tasks: Vec<Task> = Vec::with_capacity(entries.len());
        for tree in entries {
            // Parents come first.
            let depth = tasks.iter().rev().find(|t| t.tree.pid == tree.ppid).map_or(0, |t| t.depth + 1);
            let core = dir.open(Kind::Core, u64::from(tree.pid))?.map(|mut image| image.entry()).transpose()?;
            tasks.push(Task { tree, core: core.flatten(), depth });
        }
        let files = dir.read_all::<FileEntry>(Kind::Files, 0)?.into_iter().map(|f| (f.id, f)).collect();
        Ok(Checkpoint { dir, tasks, files })
    }

    pub(crate) fn file(&self, id: u32) -> Option<&FileEntry> {
        self.files.get(&id)
    }

    /// The path or description of a file; what its entry is missing for is said.
    pub(crate) fn file_name(&self, id: u32) -> String {
        self.file(id).map_or_else(|| format!("(no file {id})"), describe)
    }

    pub(crate) fn mm(&self, task: &Task) -> Result<Option<MmEntry>> {
        let image = self.dir.open(Kind::Mm, u64::from(task.tree.pid))?;
        Ok(image.map(|mut image| image.entry()).transpose()?.flatten())
    }

    pub(crate) fn fds(&self, task: &Task) -> Result<Vec<FdinfoEntry>> {
        let Some(ids) = ids(&self.dir, task)? else { return Ok(Vec::new()) };
        let mut fds: Vec<FdinfoEntry> = self.dir.read_all(Kind::Fdinfo, u64::from(ids.files_id))?;
        fds.sort_by_key(|f| f.fd);
        Ok(fds)
    }
}

/// The ids of what a task shares with others.
fn ids(dir: &ImageDir, task: &Task) -> Result<Option<TaskKobjIdsEntry>> {
    if let Some(ids) = task.core.as_ref().and_then(|c| c.ids) {
        return Ok(Some(ids));
    }
    let image = dir.open(Kind::Ids, u64::from(task.tree.pid))?;
    Ok(image.map(|mut image| image.entry()).transpose()?.flatten())
}

impl Task {
    pub(crate) fn pid(&self) -> u32 {
        self.tree.pid
    }

    /// The name for a reader; the bytes of one cut within a character are shown as `\u{fffd}`.
    pub(crate) fn comm(&self) -> Cow<'_, str> {
        let tc = self.core.as_ref().and_then(|c| c.tc.as_ref());
        String::from_utf8_lossy(tc.map_or(&[], |tc| tc.comm.as_slice()))
    }

    pub(crate) fn state(&self) -> &'static str {
        match self.core.as_ref().and_then(|c| c.tc.as_ref()).map_or(0, |tc| tc.task_state) {
            1 => "alive",
            2 => "dead",
            3 => "stopped",
            6 => "zombie",
            _ => "unknown",
        }
    }
}

/// What a descriptor is open on, in a few words.
pub(crate) fn describe(file: &FileEntry) -> String {
    let kind = file.r#type().as_str_name().to_lowercase();
    if let Some(reg) = &file.reg {
        return String::from_utf8_lossy(&reg.name).into_owned();
    }
    if let Some(pipe) = &file.pipe {
        return format!("pipe:[{}]", pipe.pipe_id);
    }
    if let Some(fifo) = &file.fifo {
        return format!("fifo:[{}]", fifo.pipe_id);
    }
    if let Some(unix) = &file.usk {
        return format!("unix:[{} -> {}] {}", unix.ino, unix.peer, unix_name(&unix.name)).trim_end().to_owned();
    }
    if let Some(inet) = &file.isk {
        let (from, to) = (address(&inet.src_addr, inet.src_port), address(&inet.dst_addr, inet.dst_port));
        return format!("{} {from} -> {to}", protocol(inet.proto));
    }
    if let Some(tty) = &file.tty {
        return format!("tty:[{}]", tty.tty_info_id);
    }
    if let Some(memfd) = &file.memfd {
        return format!("memfd:[{}]", memfd.inode_id);
    }
    if let Some(pidfd) = &file.pidfd {
        return format!("pidfd of {}", pidfd.nspid);
    }
    kind
}

/// An abstract name starts with `@`.
pub(crate) fn unix_name(name: &[u8]) -> String {
    let name = name.strip_suffix(b"\0").filter(|n| !n.is_empty() && n[0] != 0).unwrap_or(name);
    match name.split_first() {
        Some((0, rest)) => format!("@{}", rest.escape_ascii()),
        _ => name.escape_ascii().to_string(),
    }
}

/// An address whose words are in network order.
pub(crate) fn address(words: &[u32], port: u32) -> String {
    match *words {
        [v4] => format!("{}:{port}", std::net::Ipv4Addr::from(v4.to_le_bytes())),
        [a, b, c, d] => {
            let mut bytes = [0; 16];
            for (to, word) in bytes.chunks_mut(4).zip([a, b, c, d]) {
                to.copy_from_slice(&word.to_le_bytes());
            }
            format!("[{}]:{port}", std::net::Ipv6Addr::from(bytes))
        }
        _ => format!("?:{port}"),
    }
}

pub(crate) fn protocol(number: u32) -> String {
    match number {
        0 => "ip".into(),
        1 => "icmp".into(),
        6 => "tcp".into(),
        17 => "udp".into(),
        136 => "udplite".into(),
        other => format!("protocol {other}"),
    }
}
