use std::ffi::{c_char, c_int};

use criu_images::messages::ExtMountMap;

use crate::ffi::text;
use crate::state::{Target, set, try_set};
use crate::types::criu_opts;

/// The root of the restored tree's mount namespace.
#[unsafe(no_mangle)]
pub extern "C" fn criu_local_set_root(opts: *mut criu_opts, root: *const c_char) -> c_int {
    try_set(Target::Local(opts), |o| {
        o.root = Some(text(root)?);
        Ok(())
    })
}

/// As criu_local_set_root, with the global options.
#[unsafe(no_mangle)]
pub extern "C" fn criu_set_root(root: *const c_char) -> c_int {
    try_set(Target::Global, |o| {
        o.root = Some(text(root)?);
        Ok(())
    })
}

/// Finds external bind mounts by itself.
#[unsafe(no_mangle)]
pub extern "C" fn criu_local_set_auto_ext_mnt(opts: *mut criu_opts, val: bool) {
    set(Target::Local(opts), |o| o.auto_ext_mnt = Some(val));
}

/// As criu_local_set_auto_ext_mnt, with the global options.
#[unsafe(no_mangle)]
pub extern "C" fn criu_set_auto_ext_mnt(val: bool) {
    set(Target::Global, |o| o.auto_ext_mnt = Some(val));
}

/// Allows mounts that share with mounts outside.
#[unsafe(no_mangle)]
pub extern "C" fn criu_local_set_ext_sharing(opts: *mut criu_opts, val: bool) {
    set(Target::Local(opts), |o| o.ext_sharing = Some(val));
}

/// As criu_local_set_ext_sharing, with the global options.
#[unsafe(no_mangle)]
pub extern "C" fn criu_set_ext_sharing(val: bool) {
    set(Target::Global, |o| o.ext_sharing = Some(val));
}

/// Allows mounts that are slaves of mounts outside.
#[unsafe(no_mangle)]
pub extern "C" fn criu_local_set_ext_masters(opts: *mut criu_opts, val: bool) {
    set(Target::Local(opts), |o| o.ext_masters = Some(val));
}

/// As criu_local_set_ext_masters, with the global options.
#[unsafe(no_mangle)]
pub extern "C" fn criu_set_ext_masters(val: bool) {
    set(Target::Global, |o| o.ext_masters = Some(val));
}

/// A mount from outside: dump, its mount point and a name; restore, the name and its source.
#[unsafe(no_mangle)]
pub extern "C" fn criu_local_add_ext_mount(opts: *mut criu_opts, key: *const c_char, val: *const c_char) -> c_int {
    try_set(Target::Local(opts), |o| {
        o.ext_mnt.push(ExtMountMap { key: text(key)?, val: text(val)? });
        Ok(())
    })
}

/// As criu_local_add_ext_mount, with the global options.
#[unsafe(no_mangle)]
pub extern "C" fn criu_add_ext_mount(key: *const c_char, val: *const c_char) -> c_int {
    try_set(Target::Global, |o| {
        o.ext_mnt.push(ExtMountMap { key: text(key)?, val: text(val)? });
        Ok(())
    })
}

/// A filesystem type that is saved although its kind is not known.
#[unsafe(no_mangle)]
pub extern "C" fn criu_local_add_enable_fs(opts: *mut criu_opts, fs: *const c_char) -> c_int {
    try_set(Target::Local(opts), |o| {
        o.enable_fs.push(text(fs)?);
        Ok(())
    })
}

/// As criu_local_add_enable_fs, with the global options.
#[unsafe(no_mangle)]
pub extern "C" fn criu_add_enable_fs(fs: *const c_char) -> c_int {
    try_set(Target::Global, |o| {
        o.enable_fs.push(text(fs)?);
        Ok(())
    })
}

/// A mount point that is left out.
#[unsafe(no_mangle)]
pub extern "C" fn criu_local_add_skip_mnt(opts: *mut criu_opts, mnt: *const c_char) -> c_int {
    try_set(Target::Local(opts), |o| {
        o.skip_mnt.push(text(mnt)?);
        Ok(())
    })
}

/// As criu_local_add_skip_mnt, with the global options.
#[unsafe(no_mangle)]
pub extern "C" fn criu_add_skip_mnt(mnt: *const c_char) -> c_int {
    try_set(Target::Global, |o| {
        o.skip_mnt.push(text(mnt)?);
        Ok(())
    })
}

/// Restores mounts in the way that old kernels allow.
#[unsafe(no_mangle)]
pub extern "C" fn criu_local_set_mntns_compat_mode(opts: *mut criu_opts, val: bool) {
    set(Target::Local(opts), |o| o.mntns_compat_mode = Some(val));
}

/// As criu_local_set_mntns_compat_mode, with the global options.
#[unsafe(no_mangle)]
pub extern "C" fn criu_set_mntns_compat_mode(val: bool) {
    set(Target::Global, |o| o.mntns_compat_mode = Some(val));
}

/// The security profile of the restored tasks, as TYPE:NAME.
#[unsafe(no_mangle)]
pub extern "C" fn criu_local_set_lsm_profile(opts: *mut criu_opts, name: *const c_char) -> c_int {
    try_set(Target::Local(opts), |o| {
        o.lsm_profile = Some(text(name)?);
        Ok(())
    })
}

/// As criu_local_set_lsm_profile, with the global options.
#[unsafe(no_mangle)]
pub extern "C" fn criu_set_lsm_profile(name: *const c_char) -> c_int {
    try_set(Target::Global, |o| {
        o.lsm_profile = Some(text(name)?);
        Ok(())
    })
}

/// The security context of restored mounts.
#[unsafe(no_mangle)]
pub extern "C" fn criu_local_set_lsm_mount_context(opts: *mut criu_opts, name: *const c_char) -> c_int {
    try_set(Target::Local(opts), |o| {
        o.lsm_mount_context = Some(text(name)?);
        Ok(())
    })
}

/// As criu_local_set_lsm_mount_context, with the global options.
#[unsafe(no_mangle)]
pub extern "C" fn criu_set_lsm_mount_context(name: *const c_char) -> c_int {
    try_set(Target::Global, |o| {
        o.lsm_mount_context = Some(text(name)?);
        Ok(())
    })
}
