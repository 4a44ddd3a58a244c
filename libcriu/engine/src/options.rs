//! What one operation was asked to do: the request's message and the directories it named, opened.

use std::os::fd::OwnedFd;

use criu_images::messages::CriuOpts;

/// The options of one operation. `msg` is the request's own message with config files merged in; everything that has to
/// be resolved (directories, the root pid) stands beside it.
#[derive(Debug)]
pub struct Options {
    pub msg: CriuOpts,
    /// Root of the tree to dump, as seen in the engine's pid namespace; 0 in a restore.
    pub pid: i32,
    /// The images directory, opened O_DIRECTORY | O_CLOEXEC.
    pub images_dir: OwnedFd,
    /// Where logs and statistics go; the images directory unless the request says otherwise.
    pub work_dir: OwnedFd,
    /// The process that sent the request (a self-dump is `pid == peer_pid`); 0 for the command line.
    pub peer_pid: i32,
    /// For a self-dump: the inode of the *caller's* end of the connection to this engine.
    pub service_sk_ino: Option<u64>,
    /// Bring the restored root up as a sibling of the engine, so that it is the caller's own child.
    pub restore_sibling: bool,
    /// Restored tasks and the engine part: `criu restore -d`, and every RPC restore.
    pub restore_detached: bool,
}
