use std::ffi::{c_char, c_int};
use std::mem::MaybeUninit;

use criu_images::messages::{CriuVethPair, JoinNamespace};

use crate::ffi::{self, optional_text, text};
use crate::state::{Target, choose, set, try_set};
use crate::types::{criu_network_lock_method, criu_opts};

/// Saves established TCP connections.
#[unsafe(no_mangle)]
pub extern "C" fn criu_local_set_tcp_established(opts: *mut criu_opts, tcp_established: bool) {
    set(Target::Local(opts), |o| o.tcp_established = Some(tcp_established));
}

/// As criu_local_set_tcp_established, with the global options.
#[unsafe(no_mangle)]
pub extern "C" fn criu_set_tcp_established(tcp_established: bool) {
    set(Target::Global, |o| o.tcp_established = Some(tcp_established));
}

/// Leaves out TCP connections that are not accepted yet.
#[unsafe(no_mangle)]
pub extern "C" fn criu_local_set_tcp_skip_in_flight(opts: *mut criu_opts, tcp_skip_in_flight: bool) {
    set(Target::Local(opts), |o| o.tcp_skip_in_flight = Some(tcp_skip_in_flight));
}

/// As criu_local_set_tcp_skip_in_flight, with the global options.
#[unsafe(no_mangle)]
pub extern "C" fn criu_set_tcp_skip_in_flight(tcp_skip_in_flight: bool) {
    set(Target::Global, |o| o.tcp_skip_in_flight = Some(tcp_skip_in_flight));
}

/// Restores TCP connections as closed ones.
#[unsafe(no_mangle)]
pub extern "C" fn criu_local_set_tcp_close(opts: *mut criu_opts, tcp_close: bool) {
    set(Target::Local(opts), |o| o.tcp_close = Some(tcp_close));
}

/// As criu_local_set_tcp_close, with the global options.
#[unsafe(no_mangle)]
pub extern "C" fn criu_set_tcp_close(tcp_close: bool) {
    set(Target::Global, |o| o.tcp_close = Some(tcp_close));
}

/// Ignores at restore network settings that the kernel does not know.
#[unsafe(no_mangle)]
pub extern "C" fn criu_local_set_weak_sysctls(opts: *mut criu_opts, val: bool) {
    set(Target::Local(opts), |o| o.weak_sysctls = Some(val));
}

/// As criu_local_set_weak_sysctls, with the global options.
#[unsafe(no_mangle)]
pub extern "C" fn criu_set_weak_sysctls(val: bool) {
    set(Target::Global, |o| o.weak_sysctls = Some(val));
}

/// What keeps packets away from connections that are being dumped.
#[unsafe(no_mangle)]
pub extern "C" fn criu_local_set_network_lock(
    opts: *mut criu_opts,
    method: MaybeUninit<criu_network_lock_method>,
) -> c_int {
    choose(Target::Local(opts), ffi::number(method), |o, n| o.network_lock = Some(n))
}

/// As criu_local_set_network_lock, with the global options.
#[unsafe(no_mangle)]
pub extern "C" fn criu_set_network_lock(method: MaybeUninit<criu_network_lock_method>) -> c_int {
    choose(Target::Global, ffi::number(method), |o, n| o.network_lock = Some(n))
}

/// The outer end of a restored veth pair.
#[unsafe(no_mangle)]
pub extern "C" fn criu_local_add_veth_pair(opts: *mut criu_opts, in_: *const c_char, out: *const c_char) -> c_int {
    try_set(Target::Local(opts), |o| {
        o.veths.push(CriuVethPair { if_in: text(in_)?, if_out: text(out)? });
        Ok(())
    })
}

/// As criu_local_add_veth_pair, with the global options.
#[unsafe(no_mangle)]
pub extern "C" fn criu_add_veth_pair(in_: *const c_char, out: *const c_char) -> c_int {
    try_set(Target::Global, |o| {
        o.veths.push(CriuVethPair { if_in: text(in_)?, if_out: text(out)? });
        Ok(())
    })
}

/// Namespaces (CLONE_NEW* bits) whose contents are neither saved nor restored.
#[unsafe(no_mangle)]
pub extern "C" fn criu_local_set_empty_ns(opts: *mut criu_opts, namespaces: c_int) {
    set(Target::Local(opts), |o| o.empty_ns = Some(namespaces as u32));
}

/// As criu_local_set_empty_ns, with the global options.
#[unsafe(no_mangle)]
pub extern "C" fn criu_set_empty_ns(namespaces: c_int) {
    set(Target::Global, |o| o.empty_ns = Some(namespaces as u32));
}

/// The restored tree joins an existing namespace: its kind, its file or pid; `extra_opt` (uid,gid of a user namespace) may be NULL.
#[unsafe(no_mangle)]
pub extern "C" fn criu_local_join_ns_add(
    opts: *mut criu_opts,
    ns: *const c_char,
    ns_file: *const c_char,
    extra_opt: *const c_char,
) -> c_int {
    try_set(Target::Local(opts), |o| {
        let extra_opt = optional_text(extra_opt)?;
        o.join_ns.push(JoinNamespace { ns: text(ns)?, ns_file: text(ns_file)?, extra_opt });
        Ok(())
    })
}

/// As criu_local_join_ns_add, with the global options.
#[unsafe(no_mangle)]
pub extern "C" fn criu_join_ns_add(ns: *const c_char, ns_file: *const c_char, extra_opt: *const c_char) -> c_int {
    try_set(Target::Global, |o| {
        let extra_opt = optional_text(extra_opt)?;
        o.join_ns.push(JoinNamespace { ns: text(ns)?, ns_file: text(ns_file)?, extra_opt });
        Ok(())
    })
}
