use std::ffi::{c_char, c_int};
use std::mem::MaybeUninit;

use crate::ffi::{self, text};
use crate::state::{Target, choose, set, try_set};
use crate::types::{criu_opts, criu_pre_dump_mode};

/// Lets the kernel track which pages change, for incremental dumps.
#[unsafe(no_mangle)]
pub extern "C" fn criu_local_set_track_mem(opts: *mut criu_opts, track_mem: bool) {
    set(Target::Local(opts), |o| o.track_mem = Some(track_mem));
}

/// As criu_local_set_track_mem, with the global options.
#[unsafe(no_mangle)]
pub extern "C" fn criu_set_track_mem(track_mem: bool) {
    set(Target::Global, |o| o.track_mem = Some(track_mem));
}

/// Frees pages in parent images that a later dump replaces.
#[unsafe(no_mangle)]
pub extern "C" fn criu_local_set_auto_dedup(opts: *mut criu_opts, auto_dedup: bool) {
    set(Target::Local(opts), |o| o.auto_dedup = Some(auto_dedup));
}

/// As criu_local_set_auto_dedup, with the global options.
#[unsafe(no_mangle)]
pub extern "C" fn criu_set_auto_dedup(auto_dedup: bool) {
    set(Target::Global, |o| o.auto_dedup = Some(auto_dedup));
}

/// How a pre-dump reads memory.
#[unsafe(no_mangle)]
pub extern "C" fn criu_local_set_pre_dump_mode(opts: *mut criu_opts, mode: MaybeUninit<criu_pre_dump_mode>) -> c_int {
    choose(Target::Local(opts), ffi::number(mode), |o, n| o.pre_dump_mode = Some(n))
}

/// As criu_local_set_pre_dump_mode, with the global options.
#[unsafe(no_mangle)]
pub extern "C" fn criu_set_pre_dump_mode(mode: MaybeUninit<criu_pre_dump_mode>) -> c_int {
    choose(Target::Global, ffi::number(mode), |o, n| o.pre_dump_mode = Some(n))
}

/// The page server that memory goes to.
#[unsafe(no_mangle)]
pub extern "C" fn criu_local_set_page_server_address_port(
    opts: *mut criu_opts,
    address: *const c_char,
    port: c_int,
) -> c_int {
    try_set(Target::Local(opts), |o| {
        let ps = o.ps.get_or_insert_default();
        (ps.address, ps.port) = (Some(text(address)?), Some(port));
        Ok(())
    })
}

/// As criu_local_set_page_server_address_port, with the global options.
#[unsafe(no_mangle)]
pub extern "C" fn criu_set_page_server_address_port(address: *const c_char, port: c_int) -> c_int {
    try_set(Target::Global, |o| {
        let ps = o.ps.get_or_insert_default();
        (ps.address, ps.port) = (Some(text(address)?), Some(port));
        Ok(())
    })
}

/// Restores memory when it is touched, from a lazy-pages daemon.
#[unsafe(no_mangle)]
pub extern "C" fn criu_local_set_lazy_pages(opts: *mut criu_opts, lazy_pages: bool) {
    set(Target::Local(opts), |o| o.lazy_pages = Some(lazy_pages));
}

/// As criu_local_set_lazy_pages, with the global options.
#[unsafe(no_mangle)]
pub extern "C" fn criu_set_lazy_pages(lazy_pages: bool) {
    set(Target::Global, |o| o.lazy_pages = Some(lazy_pages));
}
