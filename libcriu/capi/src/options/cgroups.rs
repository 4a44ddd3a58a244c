use std::ffi::{c_char, c_int};
use std::mem::MaybeUninit;

use criu_images::messages::CgroupRoot;

use crate::ffi::{self, optional_text, text};
use crate::state::{Target, choose, set, try_set};
use crate::types::{criu_cg_mode, criu_opts};

/// Saves and restores control groups.
#[unsafe(no_mangle)]
pub extern "C" fn criu_local_set_manage_cgroups(opts: *mut criu_opts, manage: bool) {
    set(Target::Local(opts), |o| o.manage_cgroups = Some(manage));
}

/// As criu_local_set_manage_cgroups, with the global options.
#[unsafe(no_mangle)]
pub extern "C" fn criu_set_manage_cgroups(manage: bool) {
    set(Target::Global, |o| o.manage_cgroups = Some(manage));
}

/// How control groups are treated.
#[unsafe(no_mangle)]
pub extern "C" fn criu_local_set_manage_cgroups_mode(opts: *mut criu_opts, mode: MaybeUninit<criu_cg_mode>) {
    choose(Target::Local(opts), ffi::number(mode), |o, n| {
        (o.manage_cgroups, o.manage_cgroups_mode) = (Some(true), Some(n))
    });
}

/// As criu_local_set_manage_cgroups_mode, with the global options.
#[unsafe(no_mangle)]
pub extern "C" fn criu_set_manage_cgroups_mode(mode: MaybeUninit<criu_cg_mode>) {
    choose(Target::Global, ffi::number(mode), |o, n| (o.manage_cgroups, o.manage_cgroups_mode) = (Some(true), Some(n)));
}

/// The control group whose freezer stops the tree.
#[unsafe(no_mangle)]
pub extern "C" fn criu_local_set_freeze_cgroup(opts: *mut criu_opts, name: *const c_char) -> c_int {
    try_set(Target::Local(opts), |o| {
        o.freeze_cgroup = Some(text(name)?);
        Ok(())
    })
}

/// As criu_local_set_freeze_cgroup, with the global options.
#[unsafe(no_mangle)]
pub extern "C" fn criu_set_freeze_cgroup(name: *const c_char) -> c_int {
    try_set(Target::Global, |o| {
        o.freeze_cgroup = Some(text(name)?);
        Ok(())
    })
}

/// Where control groups are restored; a NULL or empty controller means all.
#[unsafe(no_mangle)]
pub extern "C" fn criu_local_add_cg_root(opts: *mut criu_opts, ctrl: *const c_char, path: *const c_char) -> c_int {
    try_set(Target::Local(opts), |o| {
        o.cg_root.push(CgroupRoot { ctrl: optional_text(ctrl)?, path: text(path)? });
        Ok(())
    })
}

/// As criu_local_add_cg_root, with the global options.
#[unsafe(no_mangle)]
pub extern "C" fn criu_add_cg_root(ctrl: *const c_char, path: *const c_char) -> c_int {
    try_set(Target::Global, |o| {
        o.cg_root.push(CgroupRoot { ctrl: optional_text(ctrl)?, path: text(path)? });
        Ok(())
    })
}

/// Properties of control groups to save, as YAML.
#[unsafe(no_mangle)]
pub extern "C" fn criu_local_add_cg_props(opts: *mut criu_opts, stream: *const c_char) -> c_int {
    try_set(Target::Local(opts), |o| {
        o.cgroup_props = Some(text(stream)?);
        Ok(())
    })
}

/// A file with properties of control groups to save.
#[unsafe(no_mangle)]
pub extern "C" fn criu_local_add_cg_props_file(opts: *mut criu_opts, path: *const c_char) -> c_int {
    try_set(Target::Local(opts), |o| {
        o.cgroup_props_file = Some(text(path)?);
        Ok(())
    })
}

/// A controller to save; without any, all are.
#[unsafe(no_mangle)]
pub extern "C" fn criu_local_add_cg_dump_controller(opts: *mut criu_opts, name: *const c_char) -> c_int {
    try_set(Target::Local(opts), |o| {
        o.cgroup_dump_controller.push(text(name)?);
        Ok(())
    })
}

/// A directory in which the control group hierarchies are mounted.
#[unsafe(no_mangle)]
pub extern "C" fn criu_local_add_cg_yard(opts: *mut criu_opts, path: *const c_char) -> c_int {
    try_set(Target::Local(opts), |o| {
        o.cgroup_yard = Some(text(path)?);
        Ok(())
    })
}
