//! What has been learned of open files, for all kinds.

use std::collections::{BTreeMap, HashMap, HashSet};

use criu_images::messages::{CriuOpts, FdinfoEntry, FileEntry};

use crate::file::ghost::Ghosts;
use crate::file::{DumpTask, FileId, uring};
use crate::numbers::ByNumber;
use crate::options::Options;
use crate::socket::Likenesses;

/// What a task's table looks like.
#[derive(Clone, Debug, Default)]
pub(crate) struct Table {
    /// A task that uses it, in the engine's pid namespace.
    pub pid: i32,
    pub fds: Vec<FdinfoEntry>,
}

/// What the kinds share while a dump lasts.
#[derive(Debug)]
pub(crate) struct Collected {
    pub opts: CriuOpts,
    /// Inode of the caller's own end of its connection to this engine, in a self-dump.
    pub service_sk_ino: Option<u64>,
    pub entries: Vec<FileEntry>,
    pub tables: BTreeMap<u32, Table>,
    /// Inode of every description, as fdinfo gives it.
    pub inodes: ByNumber<FileId, u64>,
    /// Descriptors that were refused, as (engine's pid, number).
    pub refused: HashSet<(i32, i32)>,
    pub ghosts: Ghosts,
    /// Inodes of sockets that may be connected to what is outside the tree, and of those outside.
    pub external_sockets: HashSet<u32>,
    /// Every task whose files were collected, as (engine's pid, pid in its own namespace).
    pub tasks: HashMap<i32, i32>,
    /// Sockets that can be mapped, by inode: id, and bytes of a mapping.
    pub mappable_sockets: HashMap<u64, (FileId, u64)>,
    pub urings: Vec<uring::Held>,
    /// Inodes of those that cannot be saved.
    pub refused_urings: HashSet<u64>,
    /// What threads have to do with io_uring, of processes where any can have, by pid in their own namespace.
    pub uring_users: BTreeMap<i32, UringUsers>,
    /// Descriptions that are in messages.
    pub in_messages: HashSet<FileId>,
    /// Which sockets of large tables are alike.
    pub likenesses: Likenesses,
    /// The identity of this dump; empty when the kernel had no random bytes.
    pub run_id: String,
    pub(super) last_id: FileId,
}

/// A socket that is mapped.
#[derive(Clone, Copy, Debug)]
pub enum SocketMapping {
    /// Its id, and how long a mapping of its rings is.
    Rings(FileId, u64),
    /// What it has received is mapped.
    Tcp,
    /// It is not open any more, or was refused.
    Unknown,
}

/// An io_uring instance that is mapped.
#[derive(Clone, Copy, Debug)]
pub enum UringMapping {
    /// Its id, and how much of it can be mapped from where.
    Of(FileId, [(u64, u64); 3]),
    /// It was refused itself.
    Refused,
    /// The process has no descriptor of it.
    Unknown,
}

/// Of one process.
#[derive(Debug)]
pub(crate) struct UringUsers {
    /// In the engine's pid namespace.
    pub pid: i32,
    pub threads: Result<Vec<uring::Thread>, String>,
}

impl Collected {
    /// Nothing yet.
    pub(super) fn new(options: &Options) -> Self {
        Collected {
            opts: options.msg.clone(),
            service_sk_ino: options.service_sk_ino,
            entries: Vec::new(),
            tables: BTreeMap::new(),
            inodes: ByNumber::default(),
            refused: HashSet::new(),
            ghosts: Ghosts::default(),
            external_sockets: external_sockets(&options.msg),
            tasks: HashMap::new(),
            mappable_sockets: HashMap::new(),
            urings: Vec::new(),
            refused_urings: HashSet::new(),
            uring_users: BTreeMap::new(),
            in_messages: HashSet::new(),
            likenesses: Likenesses::default(),
            run_id: crate::run_id::new().unwrap_or_default(),
            last_id: 0,
        }
    }

    /// Looks at what the threads of a process have to do with io_uring.
    pub(crate) fn look_at_uring_users(&mut self, task: &DumpTask<'_>) {
        let look = || {
            let threads = uring::threads_of(task.pidfd).map_err(|e| e.to_string());
            UringUsers { pid: task.pid, threads }
        };
        self.uring_users.entry(task.vpid).or_insert_with(look);
    }

    /// A new id of `files.img`.
    pub(crate) fn new_id(&mut self) -> FileId {
        self.last_id += 1;
        self.last_id
    }
}

/// Inodes that `ext_unix_sk` or `external` name.
fn external_sockets(opts: &CriuOpts) -> HashSet<u32> {
    let number = |key: &String| key.strip_prefix("unix[")?.strip_suffix(']')?.parse().ok();
    opts.unix_sk_ino.iter().map(|s| s.inode).chain(opts.external.iter().filter_map(number)).collect()
}
