//! From a request's message to the options of an operation: directories opened, the target found.

use std::os::fd::{AsRawFd, OwnedFd};

use criu_images::messages::CriuOpts;
use criu_images::options::Settings;
use rustix::fs::{Mode, OFlags};

use super::peer::{Peer, other_end_inode};
use super::{Session, Transport};
use crate::error::{Error, Phase, Result};
use crate::options::Options;

fn bad(object: &str, cause: &str) -> Error {
    Error::new(Phase::Options, object, cause).errno(libc::EBADRQC)
}

/// The images directory by descriptor of the client, or by path; `None` when neither is given.
pub fn images_dir(opts: &CriuOpts, peer: Peer) -> Result<Option<OwnedFd>> {
    if opts.images_dir_fd != -1 {
        return peer.open_directory(opts.images_dir_fd, "images_dir_fd").map(Some);
    }
    opts.images_dir.as_deref().map(|path| open_path(path, "images_dir")).transpose()
}

/// The work directory, when it is another one than the images directory.
pub fn work_dir(settings: &Settings, peer: Peer) -> Result<Option<OwnedFd>> {
    match (settings.msg.work_dir_fd, &settings.command.work_dir) {
        (None | Some(-1), None) => Ok(None),
        (None | Some(-1), Some(path)) => open_path(path, "work-dir").map(Some),
        (Some(fd), _) => peer.open_directory(fd, "work_dir_fd").map(Some),
    }
}

/// Opens a directory named by an option.
///
/// # Errors
/// EBADRQC: it cannot be opened.
pub fn open_path(path: &str, what: &str) -> Result<OwnedFd> {
    rustix::fs::open(path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
        .map_err(|e| Error::os(Phase::Options, format!("{what} `{path}`"), "open", e).errno(libc::EBADRQC))
}

/// Both directories; the work directory is the images directory unless the request says otherwise.
pub fn directories(settings: &Settings, peer: Peer) -> Result<(OwnedFd, OwnedFd)> {
    let images = images_dir(&settings.msg, peer)?.ok_or_else(|| {
        bad("images_dir_fd", "the request names no images directory: neither images_dir_fd nor images_dir is set")
    })?;
    let work = match work_dir(settings, peer)? {
        Some(dir) => dir,
        None => images.try_clone().map_err(|e| Error::os(Phase::Options, "work directory", "dup", e))?,
    };
    Ok((images, work))
}

/// The options of a dump or preflight: without a pid the client itself is the target. Second: whether the client is in
/// the tree, so that it will be frozen.
pub fn dump_options(session: &Session, opts: CriuOpts, dirs: (OwnedFd, OwnedFd)) -> Result<(Options, bool)> {
    let pid = match opts.pid {
        None | Some(0) => session.peer.pid(),
        Some(pid) if pid < 0 => return Err(bad("pid", &format!("{pid} is not a pid"))),
        Some(pid) => pid,
    };
    if pid == 0 {
        return Err(bad("pid", "none is given and the client lives in a pid namespace that this process does not see"));
    }
    let is_target = session.peer.is_in_tree(pid);
    let service_sk_ino = if is_target { own_connection(session) } else { None };
    Ok((Options { service_sk_ino, ..options(session, opts, dirs, pid) }, is_target))
}

/// The options of a restore, and descriptors of the client that they name: they have to stay open.
pub fn restore_options(
    session: &Session,
    mut opts: CriuOpts,
    dirs: (OwnedFd, OwnedFd),
) -> Result<(Options, Vec<OwnedFd>)> {
    if opts.rst_sibling() && session.transport == Transport::Service {
        return Err(bad("rst_sibling", "a service cannot make the restored process a child of its client")
            .hint("use `criu swrk` or the library's own worker"));
    }
    let lent = take_inherited(session, &mut opts)?;
    Ok((options(session, opts, dirs, 0), lent))
}

/// A number in `inherit_fd` is one of this process, if it was started with it, as runtimes that execute `criu swrk` have it;
/// else it is one of the client, as users of the library have it.
fn take_inherited(session: &Session, opts: &mut CriuOpts) -> Result<Vec<OwnedFd>> {
    let mut lent = Vec::new();
    for inherit in &mut opts.inherit_fd {
        if session.inherited.contains(&inherit.fd) {
            continue;
        }
        let what = format!("inherited fd {} ({})", inherit.fd, inherit.key);
        let fd = session.peer.descriptor(inherit.fd, &what)?;
        inherit.fd = fd.as_raw_fd();
        lent.push(fd);
    }
    Ok(lent)
}

fn options(session: &Session, opts: CriuOpts, (images_dir, work_dir): (OwnedFd, OwnedFd), pid: i32) -> Options {
    Options {
        restore_sibling: opts.rst_sibling(),
        msg: opts,
        pid,
        images_dir,
        work_dir,
        peer_pid: session.peer.pid(),
        service_sk_ino: None,
        restore_detached: true,
    }
}

/// The client's end of this connection; without it the socket is refused as one whose peer is outside the tree.
fn own_connection(session: &Session) -> Option<u64> {
    other_end_inode(session.connection.fd())
        .inspect_err(|e| log::warn!("the client's end of the connection is not known: {e}"))
        .ok()
}
