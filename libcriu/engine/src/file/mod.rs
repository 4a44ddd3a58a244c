//! Open files: every kind of object that a descriptor can refer to, in both directions.
//!
//! Dump: [`DumpFiles`] is fed with tables (`collect_fds`) and with the files a task holds without a descriptor
//! (`collect_link`), then `resolve`d (what concerns objects as a whole: peers, watched descriptors), then saved.
//! Restore: [`RestoreFiles`] is loaded in the coordinator, which opens what several tables use (`open_shared`) before it
//! forks; each task then `install`s its table.
//!
//! A kind is a folder with a `mod.rs`, `dump.rs` and `restore.rs`, and a line in `kind::KINDS`.

use std::os::fd::BorrowedFd;

mod bpfmap;
mod collect;
mod fdinfo;
mod identity;
mod inherit;
mod install;
mod kind;
mod load;
mod nameless;
mod object;
mod older;
mod owner;
mod path;
mod seen;
mod table;
mod twin;
mod unsupported;

mod epoll;
mod eventfd;
mod ghost;
mod lock;
pub(crate) mod memfd;
mod notify;
mod pidfd;
mod pipe;
mod regular;
mod signalfd;
mod timerfd;
mod tty;
mod tun;
mod uring;

#[cfg(test)]
mod golden;
#[cfg(test)]
pub(crate) mod tests;

pub use collect::{DumpFiles, SocketMapping, UringMapping};
pub use load::RestoreFiles;

pub(crate) use collect::{BE_ROOT_OUTSIDE, Collected, UNREACHABLE};
pub(crate) use ghost::kernel_dev;
pub(crate) use inherit::Wanted;
pub(crate) use kind::{DumpKind, FileKind, InFlight, RestoreKind, Unsaved, body};
pub(crate) use load::Plan;
pub(crate) use object::Object;
pub(crate) use seen::{Seen, Unseen};

/// What `files.img` says, for a restore.
pub(crate) type Entries = std::collections::BTreeMap<FileId, criu_images::messages::FileEntry>;

/// Identity of an open file description in `files.img`.
pub type FileId = u32;

/// A task whose files are collected.
#[derive(Clone, Copy, Debug)]
pub struct DumpTask<'a> {
    /// Its pid in the engine's pid namespace.
    pub pid: i32,
    /// Its pid in its own pid namespace: the one images carry.
    pub vpid: i32,
    pub pidfd: BorrowedFd<'a>,
}

/// A file that a task holds other than by a descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Link {
    Exe,
    Cwd,
    Root,
    /// The file behind the mapping at these addresses: what the list of areas says of it.
    Mapped {
        start: u64,
        end: u64,
        dev: (u32, u32),
        inode: u64,
    },
}

impl Link {
    /// Its name below /proc/PID.
    fn proc_name(self) -> String {
        match self {
            Link::Exe => "exe".into(),
            Link::Cwd => "cwd".into(),
            Link::Root => "root".into(),
            Link::Mapped { start, end, .. } => format!("map_files/{start:x}-{end:x}"),
        }
    }

    fn describe(self) -> String {
        match self {
            Link::Exe => "executable".into(),
            Link::Cwd => "current directory".into(),
            Link::Root => "root directory".into(),
            Link::Mapped { start, end, .. } => format!("mapping {start:#x}-{end:#x}"),
        }
    }
}

/// For [`crate::parsers`].
pub(crate) fn fdinfo_text(text: &str) {
    if let Some(info) = fdinfo::FdInfo::parse(text) {
        epoll::text(&info);
        timerfd::text(&info);
        info.locks().for_each(lock::text);
    }
}
