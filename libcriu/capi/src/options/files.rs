use std::ffi::{c_char, c_int, c_uint};

use criu_images::messages::{InheritFd, UnixSk};

use crate::ffi::text;
use crate::state::{Target, set, try_set};
use crate::types::criu_opts;

/// Allows unix sockets whose peer is outside the tree.
#[unsafe(no_mangle)]
pub extern "C" fn criu_local_set_ext_unix_sk(opts: *mut criu_opts, ext_unix_sk: bool) {
    set(Target::Local(opts), |o| o.ext_unix_sk = Some(ext_unix_sk));
}

/// As criu_local_set_ext_unix_sk, with the global options.
#[unsafe(no_mangle)]
pub extern "C" fn criu_set_ext_unix_sk(ext_unix_sk: bool) {
    set(Target::Global, |o| o.ext_unix_sk = Some(ext_unix_sk));
}

/// Allows the peer of this inode to be outside the tree.
#[unsafe(no_mangle)]
pub extern "C" fn criu_local_add_unix_sk(opts: *mut criu_opts, inode: c_uint) -> c_int {
    try_set(Target::Local(opts), |o| {
        o.unix_sk_ino.push(UnixSk { inode });
        Ok(())
    })
}

/// As criu_local_add_unix_sk, with the global options.
#[unsafe(no_mangle)]
pub extern "C" fn criu_add_unix_sk(inode: c_uint) -> c_int {
    try_set(Target::Global, |o| {
        o.unix_sk_ino.push(UnixSk { inode });
        Ok(())
    })
}

/// Accepts any path to a device that was opened by a path that is gone.
#[unsafe(no_mangle)]
pub extern "C" fn criu_local_set_evasive_devices(opts: *mut criu_opts, evasive_devices: bool) {
    set(Target::Local(opts), |o| o.evasive_devices = Some(evasive_devices));
}

/// As criu_local_set_evasive_devices, with the global options.
#[unsafe(no_mangle)]
pub extern "C" fn criu_set_evasive_devices(evasive_devices: bool) {
    set(Target::Global, |o| o.evasive_devices = Some(evasive_devices));
}

/// Saves file locks.
#[unsafe(no_mangle)]
pub extern "C" fn criu_local_set_file_locks(opts: *mut criu_opts, file_locks: bool) {
    set(Target::Local(opts), |o| o.file_locks = Some(file_locks));
}

/// As criu_local_set_file_locks, with the global options.
#[unsafe(no_mangle)]
pub extern "C" fn criu_set_file_locks(file_locks: bool) {
    set(Target::Global, |o| o.file_locks = Some(file_locks));
}

/// Finds the paths of watched inodes by scanning.
#[unsafe(no_mangle)]
pub extern "C" fn criu_local_set_force_irmap(opts: *mut criu_opts, force_irmap: bool) {
    set(Target::Local(opts), |o| o.force_irmap = Some(force_irmap));
}

/// As criu_local_set_force_irmap, with the global options.
#[unsafe(no_mangle)]
pub extern "C" fn criu_set_force_irmap(force_irmap: bool) {
    set(Target::Global, |o| o.force_irmap = Some(force_irmap));
}

/// Links unlinked files with other names again for the time of the checkpoint.
#[unsafe(no_mangle)]
pub extern "C" fn criu_local_set_link_remap(opts: *mut criu_opts, link_remap: bool) {
    set(Target::Local(opts), |o| o.link_remap = Some(link_remap));
}

/// As criu_local_set_link_remap, with the global options.
#[unsafe(no_mangle)]
pub extern "C" fn criu_set_link_remap(link_remap: bool) {
    set(Target::Global, |o| o.link_remap = Some(link_remap));
}

/// The largest unlinked file that is saved in the images, in bytes.
#[unsafe(no_mangle)]
pub extern "C" fn criu_local_set_ghost_limit(opts: *mut criu_opts, limit: c_uint) {
    set(Target::Local(opts), |o| o.ghost_limit = Some(limit));
}

/// As criu_local_set_ghost_limit, with the global options.
#[unsafe(no_mangle)]
pub extern "C" fn criu_set_ghost_limit(limit: c_uint) {
    set(Target::Global, |o| o.ghost_limit = Some(limit));
}

/// A directory to scan for watched inodes.
#[unsafe(no_mangle)]
pub extern "C" fn criu_local_add_irmap_path(opts: *mut criu_opts, path: *const c_char) -> c_int {
    try_set(Target::Local(opts), |o| {
        o.irmap_scan_paths.push(text(path)?);
        Ok(())
    })
}

/// As criu_local_add_irmap_path, with the global options.
#[unsafe(no_mangle)]
pub extern "C" fn criu_add_irmap_path(path: *const c_char) -> c_int {
    try_set(Target::Global, |o| {
        o.irmap_scan_paths.push(text(path)?);
        Ok(())
    })
}

/// The restored tree gets the caller's descriptor in place of the file that `key` names.
#[unsafe(no_mangle)]
pub extern "C" fn criu_local_add_inherit_fd(opts: *mut criu_opts, fd: c_int, key: *const c_char) -> c_int {
    try_set(Target::Local(opts), |o| {
        o.inherit_fd.push(InheritFd { key: text(key)?, fd });
        Ok(())
    })
}

/// As criu_local_add_inherit_fd, with the global options.
#[unsafe(no_mangle)]
pub extern "C" fn criu_add_inherit_fd(fd: c_int, key: *const c_char) -> c_int {
    try_set(Target::Global, |o| {
        o.inherit_fd.push(InheritFd { key: text(key)?, fd });
        Ok(())
    })
}

/// An object outside the tree, as `TYPE[ID]:KEY`.
#[unsafe(no_mangle)]
pub extern "C" fn criu_local_add_external(opts: *mut criu_opts, key: *const c_char) -> c_int {
    try_set(Target::Local(opts), |o| {
        o.external.push(text(key)?);
        Ok(())
    })
}

/// As criu_local_add_external, with the global options.
#[unsafe(no_mangle)]
pub extern "C" fn criu_add_external(key: *const c_char) -> c_int {
    try_set(Target::Global, |o| {
        o.external.push(text(key)?);
        Ok(())
    })
}

/// Hands over the master of the tree's terminal (stage orphan-pts-master).
#[unsafe(no_mangle)]
pub extern "C" fn criu_local_set_orphan_pts_master(opts: *mut criu_opts, orphan_pts_master: bool) {
    set(Target::Local(opts), |o| o.orphan_pts_master = Some(orphan_pts_master));
}

/// As criu_local_set_orphan_pts_master, with the global options.
#[unsafe(no_mangle)]
pub extern "C" fn criu_set_orphan_pts_master(orphan_pts_master: bool) {
    set(Target::Global, |o| o.orphan_pts_master = Some(orphan_pts_master));
}

/// A socket in which pidfds of the tasks wait between pre-dumps.
#[unsafe(no_mangle)]
pub extern "C" fn criu_local_set_pidfd_store_sk(opts: *mut criu_opts, sk: c_int) {
    set(Target::Local(opts), |o| o.pidfd_store_sk = Some(sk));
}

/// As criu_local_set_pidfd_store_sk, with the global options.
#[unsafe(no_mangle)]
pub extern "C" fn criu_set_pidfd_store_sk(sk: c_int) {
    set(Target::Global, |o| o.pidfd_store_sk = Some(sk));
}
