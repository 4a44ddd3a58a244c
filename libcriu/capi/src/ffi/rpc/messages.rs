//! Generated from libcriu/images/proto/rpc.proto by the test `headers`; do not edit.

use std::ffi::{c_char, c_int, c_uint};
use std::mem::offset_of;
use std::ptr;

use super::layout::{
    Allocator, Buffer, EnumDescriptor, EnumValue, EnumValueIndex, FieldDescriptor, IntRange, MessageDescriptor,
    ProtobufCMessage,
};
use super::layout::{Label::*, Type};
use super::{enumeration, message, pack, unpack};
use crate::ffi::guard;

enumeration! { criu_cg_mode__descriptor c"CriuCgMode" c"criu_cg_mode" [
    c"IGNORE" c"CRIU_CG_MODE__IGNORE" = 0,
    c"CG_NONE" c"CRIU_CG_MODE__CG_NONE" = 1,
    c"PROPS" c"CRIU_CG_MODE__PROPS" = 2,
    c"SOFT" c"CRIU_CG_MODE__SOFT" = 3,
    c"FULL" c"CRIU_CG_MODE__FULL" = 4,
    c"STRICT" c"CRIU_CG_MODE__STRICT" = 5,
    c"DEFAULT" c"CRIU_CG_MODE__DEFAULT" = 6,
] by name [c"CG_NONE": 1, c"DEFAULT": 6, c"FULL": 4, c"IGNORE": 0, c"PROPS": 2, c"SOFT": 3, c"STRICT": 5] ranges [0: 0, 0: 7] }

enumeration! { criu_network_lock_method__descriptor c"CriuNetworkLockMethod" c"criu_network_lock_method" [
    c"IPTABLES" c"CRIU_NETWORK_LOCK_METHOD__IPTABLES" = 1,
    c"NFTABLES" c"CRIU_NETWORK_LOCK_METHOD__NFTABLES" = 2,
    c"SKIP" c"CRIU_NETWORK_LOCK_METHOD__SKIP" = 3,
] by name [c"IPTABLES": 0, c"NFTABLES": 1, c"SKIP": 2] ranges [1: 0, 0: 3] }

enumeration! { criu_pre_dump_mode__descriptor c"CriuPreDumpMode" c"criu_pre_dump_mode" [
    c"SPLICE" c"CRIU_PRE_DUMP_MODE__SPLICE" = 1,
    c"VM_READ" c"CRIU_PRE_DUMP_MODE__VM_READ" = 2,
] by name [c"SPLICE": 0, c"VM_READ": 1] ranges [1: 0, 0: 2] }

enumeration! { criu_req_type__descriptor c"CriuReqType" c"criu_req_type" [
    c"EMPTY" c"CRIU_REQ_TYPE__EMPTY" = 0,
    c"DUMP" c"CRIU_REQ_TYPE__DUMP" = 1,
    c"RESTORE" c"CRIU_REQ_TYPE__RESTORE" = 2,
    c"CHECK" c"CRIU_REQ_TYPE__CHECK" = 3,
    c"PRE_DUMP" c"CRIU_REQ_TYPE__PRE_DUMP" = 4,
    c"PAGE_SERVER" c"CRIU_REQ_TYPE__PAGE_SERVER" = 5,
    c"NOTIFY" c"CRIU_REQ_TYPE__NOTIFY" = 6,
    c"CPUINFO_DUMP" c"CRIU_REQ_TYPE__CPUINFO_DUMP" = 7,
    c"CPUINFO_CHECK" c"CRIU_REQ_TYPE__CPUINFO_CHECK" = 8,
    c"FEATURE_CHECK" c"CRIU_REQ_TYPE__FEATURE_CHECK" = 9,
    c"VERSION" c"CRIU_REQ_TYPE__VERSION" = 10,
    c"WAIT_PID" c"CRIU_REQ_TYPE__WAIT_PID" = 11,
    c"PAGE_SERVER_CHLD" c"CRIU_REQ_TYPE__PAGE_SERVER_CHLD" = 12,
    c"SINGLE_PRE_DUMP" c"CRIU_REQ_TYPE__SINGLE_PRE_DUMP" = 13,
    c"PREFLIGHT" c"CRIU_REQ_TYPE__PREFLIGHT" = 10000,
    c"PROGRESS" c"CRIU_REQ_TYPE__PROGRESS" = 10001,
    c"LOG" c"CRIU_REQ_TYPE__LOG" = 10002,
    c"CANCEL" c"CRIU_REQ_TYPE__CANCEL" = 10003,
] by name [c"CANCEL": 17, c"CHECK": 3, c"CPUINFO_CHECK": 8, c"CPUINFO_DUMP": 7, c"DUMP": 1, c"EMPTY": 0, c"FEATURE_CHECK": 9, c"LOG": 16, c"NOTIFY": 6, c"PAGE_SERVER": 5, c"PAGE_SERVER_CHLD": 12, c"PREFLIGHT": 14, c"PRE_DUMP": 4, c"PROGRESS": 15, c"RESTORE": 2, c"SINGLE_PRE_DUMP": 13, c"VERSION": 10, c"WAIT_PID": 11] ranges [0: 0, 10000: 14, 0: 18] }

#[repr(C)]
pub struct CriuPageServerInfo {
    pub base: ProtobufCMessage,
    pub address: *mut c_char,
    pub has_port: c_int,
    pub port: i32,
    pub has_pid: c_int,
    pub pid: i32,
    pub has_fd: c_int,
    pub fd: i32,
}
message! { CriuPageServerInfo c"CriuPageServerInfo" c"criu_page_server_info"
    criu_page_server_info__descriptor criu_page_server_info__init criu_page_server_info__get_packed_size criu_page_server_info__pack
    criu_page_server_info__pack_to_buffer criu_page_server_info__unpack criu_page_server_info__free_unpacked [
    FieldDescriptor::new(c"address", 1, Optional, Type::String, offset_of!(CriuPageServerInfo, address)),
    FieldDescriptor::new(c"port", 2, Optional, Type::Int32, offset_of!(CriuPageServerInfo, port)).counted(offset_of!(CriuPageServerInfo, has_port)),
    FieldDescriptor::new(c"pid", 3, Optional, Type::Int32, offset_of!(CriuPageServerInfo, pid)).counted(offset_of!(CriuPageServerInfo, has_pid)),
    FieldDescriptor::new(c"fd", 4, Optional, Type::Int32, offset_of!(CriuPageServerInfo, fd)).counted(offset_of!(CriuPageServerInfo, has_fd)),
] by name [0, 3, 2, 1] ranges [1: 0, 0: 4] }

#[repr(C)]
pub struct CriuVethPair {
    pub base: ProtobufCMessage,
    pub if_in: *mut c_char,
    pub if_out: *mut c_char,
}
message! { CriuVethPair c"CriuVethPair" c"criu_veth_pair"
    criu_veth_pair__descriptor criu_veth_pair__init criu_veth_pair__get_packed_size criu_veth_pair__pack
    criu_veth_pair__pack_to_buffer criu_veth_pair__unpack criu_veth_pair__free_unpacked [
    FieldDescriptor::new(c"if_in", 1, Required, Type::String, offset_of!(CriuVethPair, if_in)),
    FieldDescriptor::new(c"if_out", 2, Required, Type::String, offset_of!(CriuVethPair, if_out)),
] by name [0, 1] ranges [1: 0, 0: 2] }

#[repr(C)]
pub struct ExtMountMap {
    pub base: ProtobufCMessage,
    pub key: *mut c_char,
    pub val: *mut c_char,
}
message! { ExtMountMap c"ExtMountMap" c"ext_mount_map"
    ext_mount_map__descriptor ext_mount_map__init ext_mount_map__get_packed_size ext_mount_map__pack
    ext_mount_map__pack_to_buffer ext_mount_map__unpack ext_mount_map__free_unpacked [
    FieldDescriptor::new(c"key", 1, Required, Type::String, offset_of!(ExtMountMap, key)),
    FieldDescriptor::new(c"val", 2, Required, Type::String, offset_of!(ExtMountMap, val)),
] by name [0, 1] ranges [1: 0, 0: 2] }

#[repr(C)]
pub struct JoinNamespace {
    pub base: ProtobufCMessage,
    pub ns: *mut c_char,
    pub ns_file: *mut c_char,
    pub extra_opt: *mut c_char,
}
message! { JoinNamespace c"JoinNamespace" c"join_namespace"
    join_namespace__descriptor join_namespace__init join_namespace__get_packed_size join_namespace__pack
    join_namespace__pack_to_buffer join_namespace__unpack join_namespace__free_unpacked [
    FieldDescriptor::new(c"ns", 1, Required, Type::String, offset_of!(JoinNamespace, ns)),
    FieldDescriptor::new(c"ns_file", 2, Required, Type::String, offset_of!(JoinNamespace, ns_file)),
    FieldDescriptor::new(c"extra_opt", 3, Optional, Type::String, offset_of!(JoinNamespace, extra_opt)),
] by name [2, 0, 1] ranges [1: 0, 0: 3] }

#[repr(C)]
pub struct InheritFd {
    pub base: ProtobufCMessage,
    pub key: *mut c_char,
    pub fd: i32,
}
message! { InheritFd c"InheritFd" c"inherit_fd"
    inherit_fd__descriptor inherit_fd__init inherit_fd__get_packed_size inherit_fd__pack
    inherit_fd__pack_to_buffer inherit_fd__unpack inherit_fd__free_unpacked [
    FieldDescriptor::new(c"key", 1, Required, Type::String, offset_of!(InheritFd, key)),
    FieldDescriptor::new(c"fd", 2, Required, Type::Int32, offset_of!(InheritFd, fd)),
] by name [1, 0] ranges [1: 0, 0: 2] }

#[repr(C)]
pub struct CgroupRoot {
    pub base: ProtobufCMessage,
    pub ctrl: *mut c_char,
    pub path: *mut c_char,
}
message! { CgroupRoot c"CgroupRoot" c"cgroup_root"
    cgroup_root__descriptor cgroup_root__init cgroup_root__get_packed_size cgroup_root__pack
    cgroup_root__pack_to_buffer cgroup_root__unpack cgroup_root__free_unpacked [
    FieldDescriptor::new(c"ctrl", 1, Optional, Type::String, offset_of!(CgroupRoot, ctrl)),
    FieldDescriptor::new(c"path", 2, Required, Type::String, offset_of!(CgroupRoot, path)),
] by name [0, 1] ranges [1: 0, 0: 2] }

#[repr(C)]
pub struct UnixSk {
    pub base: ProtobufCMessage,
    pub inode: u32,
}
message! { UnixSk c"UnixSk" c"unix_sk"
    unix_sk__descriptor unix_sk__init unix_sk__get_packed_size unix_sk__pack
    unix_sk__pack_to_buffer unix_sk__unpack unix_sk__free_unpacked [
    FieldDescriptor::new(c"inode", 1, Required, Type::Uint32, offset_of!(UnixSk, inode)),
] by name [0] ranges [1: 0, 0: 1] }

#[repr(C)]
pub struct CriuOpts {
    pub base: ProtobufCMessage,
    pub images_dir_fd: i32,
    pub has_pid: c_int,
    pub pid: i32,
    pub has_leave_running: c_int,
    pub leave_running: c_int,
    pub has_ext_unix_sk: c_int,
    pub ext_unix_sk: c_int,
    pub has_tcp_established: c_int,
    pub tcp_established: c_int,
    pub has_evasive_devices: c_int,
    pub evasive_devices: c_int,
    pub has_shell_job: c_int,
    pub shell_job: c_int,
    pub has_file_locks: c_int,
    pub file_locks: c_int,
    pub has_log_level: c_int,
    pub log_level: i32,
    pub log_file: *mut c_char,
    pub ps: *mut CriuPageServerInfo,
    pub has_notify_scripts: c_int,
    pub notify_scripts: c_int,
    pub root: *mut c_char,
    pub parent_img: *mut c_char,
    pub has_track_mem: c_int,
    pub track_mem: c_int,
    pub has_auto_dedup: c_int,
    pub auto_dedup: c_int,
    pub has_work_dir_fd: c_int,
    pub work_dir_fd: i32,
    pub has_link_remap: c_int,
    pub link_remap: c_int,
    pub n_veths: usize,
    pub veths: *mut *mut CriuVethPair,
    pub has_cpu_cap: c_int,
    pub cpu_cap: u32,
    pub has_force_irmap: c_int,
    pub force_irmap: c_int,
    pub n_exec_cmd: usize,
    pub exec_cmd: *mut *mut c_char,
    pub n_ext_mnt: usize,
    pub ext_mnt: *mut *mut ExtMountMap,
    pub has_manage_cgroups: c_int,
    pub manage_cgroups: c_int,
    pub n_cg_root: usize,
    pub cg_root: *mut *mut CgroupRoot,
    pub has_rst_sibling: c_int,
    pub rst_sibling: c_int,
    pub n_inherit_fd: usize,
    pub inherit_fd: *mut *mut InheritFd,
    pub has_auto_ext_mnt: c_int,
    pub auto_ext_mnt: c_int,
    pub has_ext_sharing: c_int,
    pub ext_sharing: c_int,
    pub has_ext_masters: c_int,
    pub ext_masters: c_int,
    pub n_skip_mnt: usize,
    pub skip_mnt: *mut *mut c_char,
    pub n_enable_fs: usize,
    pub enable_fs: *mut *mut c_char,
    pub n_unix_sk_ino: usize,
    pub unix_sk_ino: *mut *mut UnixSk,
    pub has_manage_cgroups_mode: c_int,
    pub manage_cgroups_mode: i32,
    pub has_ghost_limit: c_int,
    pub ghost_limit: u32,
    pub n_irmap_scan_paths: usize,
    pub irmap_scan_paths: *mut *mut c_char,
    pub n_external: usize,
    pub external: *mut *mut c_char,
    pub has_empty_ns: c_int,
    pub empty_ns: u32,
    pub n_join_ns: usize,
    pub join_ns: *mut *mut JoinNamespace,
    pub cgroup_props: *mut c_char,
    pub cgroup_props_file: *mut c_char,
    pub n_cgroup_dump_controller: usize,
    pub cgroup_dump_controller: *mut *mut c_char,
    pub freeze_cgroup: *mut c_char,
    pub has_timeout: c_int,
    pub timeout: u32,
    pub has_tcp_skip_in_flight: c_int,
    pub tcp_skip_in_flight: c_int,
    pub has_weak_sysctls: c_int,
    pub weak_sysctls: c_int,
    pub has_lazy_pages: c_int,
    pub lazy_pages: c_int,
    pub has_status_fd: c_int,
    pub status_fd: i32,
    pub has_orphan_pts_master: c_int,
    pub orphan_pts_master: c_int,
    pub config_file: *mut c_char,
    pub has_tcp_close: c_int,
    pub tcp_close: c_int,
    pub lsm_profile: *mut c_char,
    pub tls_cacert: *mut c_char,
    pub tls_cacrl: *mut c_char,
    pub tls_cert: *mut c_char,
    pub tls_key: *mut c_char,
    pub has_tls: c_int,
    pub tls: c_int,
    pub has_tls_no_cn_verify: c_int,
    pub tls_no_cn_verify: c_int,
    pub cgroup_yard: *mut c_char,
    pub has_pre_dump_mode: c_int,
    pub pre_dump_mode: i32,
    pub has_pidfd_store_sk: c_int,
    pub pidfd_store_sk: i32,
    pub lsm_mount_context: *mut c_char,
    pub has_network_lock: c_int,
    pub network_lock: i32,
    pub has_mntns_compat_mode: c_int,
    pub mntns_compat_mode: c_int,
    pub has_skip_file_rwx_check: c_int,
    pub skip_file_rwx_check: c_int,
    pub has_unprivileged: c_int,
    pub unprivileged: c_int,
    pub images_dir: *mut c_char,
    pub has_leave_stopped: c_int,
    pub leave_stopped: c_int,
    pub has_display_stats: c_int,
    pub display_stats: c_int,
    pub has_log_to_stderr: c_int,
    pub log_to_stderr: c_int,
    pub has_stream: c_int,
    pub stream: c_int,
    pub file_validation: *mut c_char,
    pub libdir: *mut c_char,
    pub has_ghost_fiemap: c_int,
    pub ghost_fiemap: c_int,
    pub has_allow_uprobes: c_int,
    pub allow_uprobes: c_int,
    pub has_deadline_ms: c_int,
    pub deadline_ms: u64,
    pub has_extended: c_int,
    pub extended: c_int,
    pub has_log_pid: c_int,
    pub log_pid: c_int,
    pub has_progress: c_int,
    pub progress: c_int,
    pub has_log_messages: c_int,
    pub log_messages: i32,
}
message! { CriuOpts c"CriuOpts" c"criu_opts"
    criu_opts__descriptor criu_opts__init criu_opts__get_packed_size criu_opts__pack
    criu_opts__pack_to_buffer criu_opts__unpack criu_opts__free_unpacked [
    FieldDescriptor::new(c"images_dir_fd", 1, Required, Type::Int32, offset_of!(CriuOpts, images_dir_fd)).or(&-1i32),
    FieldDescriptor::new(c"pid", 2, Optional, Type::Int32, offset_of!(CriuOpts, pid)).counted(offset_of!(CriuOpts, has_pid)),
    FieldDescriptor::new(c"leave_running", 3, Optional, Type::Bool, offset_of!(CriuOpts, leave_running)).counted(offset_of!(CriuOpts, has_leave_running)),
    FieldDescriptor::new(c"ext_unix_sk", 4, Optional, Type::Bool, offset_of!(CriuOpts, ext_unix_sk)).counted(offset_of!(CriuOpts, has_ext_unix_sk)),
    FieldDescriptor::new(c"tcp_established", 5, Optional, Type::Bool, offset_of!(CriuOpts, tcp_established)).counted(offset_of!(CriuOpts, has_tcp_established)),
    FieldDescriptor::new(c"evasive_devices", 6, Optional, Type::Bool, offset_of!(CriuOpts, evasive_devices)).counted(offset_of!(CriuOpts, has_evasive_devices)),
    FieldDescriptor::new(c"shell_job", 7, Optional, Type::Bool, offset_of!(CriuOpts, shell_job)).counted(offset_of!(CriuOpts, has_shell_job)),
    FieldDescriptor::new(c"file_locks", 8, Optional, Type::Bool, offset_of!(CriuOpts, file_locks)).counted(offset_of!(CriuOpts, has_file_locks)),
    FieldDescriptor::new(c"log_level", 9, Optional, Type::Int32, offset_of!(CriuOpts, log_level)).counted(offset_of!(CriuOpts, has_log_level)).or(&2i32),
    FieldDescriptor::new(c"log_file", 10, Optional, Type::String, offset_of!(CriuOpts, log_file)),
    FieldDescriptor::new(c"ps", 11, Optional, Type::Message, offset_of!(CriuOpts, ps)).of(&raw const criu_page_server_info__descriptor),
    FieldDescriptor::new(c"notify_scripts", 12, Optional, Type::Bool, offset_of!(CriuOpts, notify_scripts)).counted(offset_of!(CriuOpts, has_notify_scripts)),
    FieldDescriptor::new(c"root", 13, Optional, Type::String, offset_of!(CriuOpts, root)),
    FieldDescriptor::new(c"parent_img", 14, Optional, Type::String, offset_of!(CriuOpts, parent_img)),
    FieldDescriptor::new(c"track_mem", 15, Optional, Type::Bool, offset_of!(CriuOpts, track_mem)).counted(offset_of!(CriuOpts, has_track_mem)),
    FieldDescriptor::new(c"auto_dedup", 16, Optional, Type::Bool, offset_of!(CriuOpts, auto_dedup)).counted(offset_of!(CriuOpts, has_auto_dedup)),
    FieldDescriptor::new(c"work_dir_fd", 17, Optional, Type::Int32, offset_of!(CriuOpts, work_dir_fd)).counted(offset_of!(CriuOpts, has_work_dir_fd)),
    FieldDescriptor::new(c"link_remap", 18, Optional, Type::Bool, offset_of!(CriuOpts, link_remap)).counted(offset_of!(CriuOpts, has_link_remap)),
    FieldDescriptor::new(c"veths", 19, Repeated, Type::Message, offset_of!(CriuOpts, veths)).counted(offset_of!(CriuOpts, n_veths)).of(&raw const criu_veth_pair__descriptor),
    FieldDescriptor::new(c"cpu_cap", 20, Optional, Type::Uint32, offset_of!(CriuOpts, cpu_cap)).counted(offset_of!(CriuOpts, has_cpu_cap)).or(&4294967295u32),
    FieldDescriptor::new(c"force_irmap", 21, Optional, Type::Bool, offset_of!(CriuOpts, force_irmap)).counted(offset_of!(CriuOpts, has_force_irmap)),
    FieldDescriptor::new(c"exec_cmd", 22, Repeated, Type::String, offset_of!(CriuOpts, exec_cmd)).counted(offset_of!(CriuOpts, n_exec_cmd)),
    FieldDescriptor::new(c"ext_mnt", 23, Repeated, Type::Message, offset_of!(CriuOpts, ext_mnt)).counted(offset_of!(CriuOpts, n_ext_mnt)).of(&raw const ext_mount_map__descriptor),
    FieldDescriptor::new(c"manage_cgroups", 24, Optional, Type::Bool, offset_of!(CriuOpts, manage_cgroups)).counted(offset_of!(CriuOpts, has_manage_cgroups)),
    FieldDescriptor::new(c"cg_root", 25, Repeated, Type::Message, offset_of!(CriuOpts, cg_root)).counted(offset_of!(CriuOpts, n_cg_root)).of(&raw const cgroup_root__descriptor),
    FieldDescriptor::new(c"rst_sibling", 26, Optional, Type::Bool, offset_of!(CriuOpts, rst_sibling)).counted(offset_of!(CriuOpts, has_rst_sibling)),
    FieldDescriptor::new(c"inherit_fd", 27, Repeated, Type::Message, offset_of!(CriuOpts, inherit_fd)).counted(offset_of!(CriuOpts, n_inherit_fd)).of(&raw const inherit_fd__descriptor),
    FieldDescriptor::new(c"auto_ext_mnt", 28, Optional, Type::Bool, offset_of!(CriuOpts, auto_ext_mnt)).counted(offset_of!(CriuOpts, has_auto_ext_mnt)),
    FieldDescriptor::new(c"ext_sharing", 29, Optional, Type::Bool, offset_of!(CriuOpts, ext_sharing)).counted(offset_of!(CriuOpts, has_ext_sharing)),
    FieldDescriptor::new(c"ext_masters", 30, Optional, Type::Bool, offset_of!(CriuOpts, ext_masters)).counted(offset_of!(CriuOpts, has_ext_masters)),
    FieldDescriptor::new(c"skip_mnt", 31, Repeated, Type::String, offset_of!(CriuOpts, skip_mnt)).counted(offset_of!(CriuOpts, n_skip_mnt)),
    FieldDescriptor::new(c"enable_fs", 32, Repeated, Type::String, offset_of!(CriuOpts, enable_fs)).counted(offset_of!(CriuOpts, n_enable_fs)),
    FieldDescriptor::new(c"unix_sk_ino", 33, Repeated, Type::Message, offset_of!(CriuOpts, unix_sk_ino)).counted(offset_of!(CriuOpts, n_unix_sk_ino)).of(&raw const unix_sk__descriptor),
    FieldDescriptor::new(c"manage_cgroups_mode", 34, Optional, Type::Enum, offset_of!(CriuOpts, manage_cgroups_mode)).counted(offset_of!(CriuOpts, has_manage_cgroups_mode)).of(&raw const criu_cg_mode__descriptor),
    FieldDescriptor::new(c"ghost_limit", 35, Optional, Type::Uint32, offset_of!(CriuOpts, ghost_limit)).counted(offset_of!(CriuOpts, has_ghost_limit)).or(&1048576u32),
    FieldDescriptor::new(c"irmap_scan_paths", 36, Repeated, Type::String, offset_of!(CriuOpts, irmap_scan_paths)).counted(offset_of!(CriuOpts, n_irmap_scan_paths)),
    FieldDescriptor::new(c"external", 37, Repeated, Type::String, offset_of!(CriuOpts, external)).counted(offset_of!(CriuOpts, n_external)),
    FieldDescriptor::new(c"empty_ns", 38, Optional, Type::Uint32, offset_of!(CriuOpts, empty_ns)).counted(offset_of!(CriuOpts, has_empty_ns)),
    FieldDescriptor::new(c"join_ns", 39, Repeated, Type::Message, offset_of!(CriuOpts, join_ns)).counted(offset_of!(CriuOpts, n_join_ns)).of(&raw const join_namespace__descriptor),
    FieldDescriptor::new(c"cgroup_props", 41, Optional, Type::String, offset_of!(CriuOpts, cgroup_props)),
    FieldDescriptor::new(c"cgroup_props_file", 42, Optional, Type::String, offset_of!(CriuOpts, cgroup_props_file)),
    FieldDescriptor::new(c"cgroup_dump_controller", 43, Repeated, Type::String, offset_of!(CriuOpts, cgroup_dump_controller)).counted(offset_of!(CriuOpts, n_cgroup_dump_controller)),
    FieldDescriptor::new(c"freeze_cgroup", 44, Optional, Type::String, offset_of!(CriuOpts, freeze_cgroup)),
    FieldDescriptor::new(c"timeout", 45, Optional, Type::Uint32, offset_of!(CriuOpts, timeout)).counted(offset_of!(CriuOpts, has_timeout)),
    FieldDescriptor::new(c"tcp_skip_in_flight", 46, Optional, Type::Bool, offset_of!(CriuOpts, tcp_skip_in_flight)).counted(offset_of!(CriuOpts, has_tcp_skip_in_flight)),
    FieldDescriptor::new(c"weak_sysctls", 47, Optional, Type::Bool, offset_of!(CriuOpts, weak_sysctls)).counted(offset_of!(CriuOpts, has_weak_sysctls)),
    FieldDescriptor::new(c"lazy_pages", 48, Optional, Type::Bool, offset_of!(CriuOpts, lazy_pages)).counted(offset_of!(CriuOpts, has_lazy_pages)),
    FieldDescriptor::new(c"status_fd", 49, Optional, Type::Int32, offset_of!(CriuOpts, status_fd)).counted(offset_of!(CriuOpts, has_status_fd)),
    FieldDescriptor::new(c"orphan_pts_master", 50, Optional, Type::Bool, offset_of!(CriuOpts, orphan_pts_master)).counted(offset_of!(CriuOpts, has_orphan_pts_master)),
    FieldDescriptor::new(c"config_file", 51, Optional, Type::String, offset_of!(CriuOpts, config_file)),
    FieldDescriptor::new(c"tcp_close", 52, Optional, Type::Bool, offset_of!(CriuOpts, tcp_close)).counted(offset_of!(CriuOpts, has_tcp_close)),
    FieldDescriptor::new(c"lsm_profile", 53, Optional, Type::String, offset_of!(CriuOpts, lsm_profile)),
    FieldDescriptor::new(c"tls_cacert", 54, Optional, Type::String, offset_of!(CriuOpts, tls_cacert)),
    FieldDescriptor::new(c"tls_cacrl", 55, Optional, Type::String, offset_of!(CriuOpts, tls_cacrl)),
    FieldDescriptor::new(c"tls_cert", 56, Optional, Type::String, offset_of!(CriuOpts, tls_cert)),
    FieldDescriptor::new(c"tls_key", 57, Optional, Type::String, offset_of!(CriuOpts, tls_key)),
    FieldDescriptor::new(c"tls", 58, Optional, Type::Bool, offset_of!(CriuOpts, tls)).counted(offset_of!(CriuOpts, has_tls)),
    FieldDescriptor::new(c"tls_no_cn_verify", 59, Optional, Type::Bool, offset_of!(CriuOpts, tls_no_cn_verify)).counted(offset_of!(CriuOpts, has_tls_no_cn_verify)),
    FieldDescriptor::new(c"cgroup_yard", 60, Optional, Type::String, offset_of!(CriuOpts, cgroup_yard)),
    FieldDescriptor::new(c"pre_dump_mode", 61, Optional, Type::Enum, offset_of!(CriuOpts, pre_dump_mode)).counted(offset_of!(CriuOpts, has_pre_dump_mode)).of(&raw const criu_pre_dump_mode__descriptor).or(&1i32),
    FieldDescriptor::new(c"pidfd_store_sk", 62, Optional, Type::Int32, offset_of!(CriuOpts, pidfd_store_sk)).counted(offset_of!(CriuOpts, has_pidfd_store_sk)),
    FieldDescriptor::new(c"lsm_mount_context", 63, Optional, Type::String, offset_of!(CriuOpts, lsm_mount_context)),
    FieldDescriptor::new(c"network_lock", 64, Optional, Type::Enum, offset_of!(CriuOpts, network_lock)).counted(offset_of!(CriuOpts, has_network_lock)).of(&raw const criu_network_lock_method__descriptor).or(&1i32),
    FieldDescriptor::new(c"mntns_compat_mode", 65, Optional, Type::Bool, offset_of!(CriuOpts, mntns_compat_mode)).counted(offset_of!(CriuOpts, has_mntns_compat_mode)),
    FieldDescriptor::new(c"skip_file_rwx_check", 66, Optional, Type::Bool, offset_of!(CriuOpts, skip_file_rwx_check)).counted(offset_of!(CriuOpts, has_skip_file_rwx_check)),
    FieldDescriptor::new(c"unprivileged", 67, Optional, Type::Bool, offset_of!(CriuOpts, unprivileged)).counted(offset_of!(CriuOpts, has_unprivileged)),
    FieldDescriptor::new(c"images_dir", 68, Optional, Type::String, offset_of!(CriuOpts, images_dir)),
    FieldDescriptor::new(c"leave_stopped", 69, Optional, Type::Bool, offset_of!(CriuOpts, leave_stopped)).counted(offset_of!(CriuOpts, has_leave_stopped)),
    FieldDescriptor::new(c"display_stats", 70, Optional, Type::Bool, offset_of!(CriuOpts, display_stats)).counted(offset_of!(CriuOpts, has_display_stats)),
    FieldDescriptor::new(c"log_to_stderr", 71, Optional, Type::Bool, offset_of!(CriuOpts, log_to_stderr)).counted(offset_of!(CriuOpts, has_log_to_stderr)),
    FieldDescriptor::new(c"stream", 10000, Optional, Type::Bool, offset_of!(CriuOpts, stream)).counted(offset_of!(CriuOpts, has_stream)),
    FieldDescriptor::new(c"file_validation", 10001, Optional, Type::String, offset_of!(CriuOpts, file_validation)),
    FieldDescriptor::new(c"libdir", 10002, Optional, Type::String, offset_of!(CriuOpts, libdir)),
    FieldDescriptor::new(c"ghost_fiemap", 10003, Optional, Type::Bool, offset_of!(CriuOpts, ghost_fiemap)).counted(offset_of!(CriuOpts, has_ghost_fiemap)),
    FieldDescriptor::new(c"allow_uprobes", 10004, Optional, Type::Bool, offset_of!(CriuOpts, allow_uprobes)).counted(offset_of!(CriuOpts, has_allow_uprobes)),
    FieldDescriptor::new(c"deadline_ms", 10005, Optional, Type::Uint64, offset_of!(CriuOpts, deadline_ms)).counted(offset_of!(CriuOpts, has_deadline_ms)),
    FieldDescriptor::new(c"extended", 10006, Optional, Type::Bool, offset_of!(CriuOpts, extended)).counted(offset_of!(CriuOpts, has_extended)),
    FieldDescriptor::new(c"log_pid", 10007, Optional, Type::Bool, offset_of!(CriuOpts, log_pid)).counted(offset_of!(CriuOpts, has_log_pid)),
    FieldDescriptor::new(c"progress", 10008, Optional, Type::Bool, offset_of!(CriuOpts, progress)).counted(offset_of!(CriuOpts, has_progress)),
    FieldDescriptor::new(c"log_messages", 10009, Optional, Type::Int32, offset_of!(CriuOpts, log_messages)).counted(offset_of!(CriuOpts, has_log_messages)),
] by name [74, 15, 27, 24, 41, 39, 40, 58, 49, 19, 75, 68, 37, 31, 5, 21, 29, 22, 28, 3, 76, 36, 7, 71, 20, 42, 73, 34, 66, 0, 26, 35, 38, 46, 2, 67, 72, 17, 9, 8, 79, 77, 69, 61, 51, 23, 33, 63, 62, 11, 48, 13, 1, 60, 59, 78, 10, 12, 25, 6, 64, 30, 47, 70, 50, 4, 44, 43, 56, 52, 53, 54, 55, 57, 14, 32, 65, 18, 45, 16] ranges [1: 0, 41: 39, 10000: 70, 0: 80] }

#[repr(C)]
pub struct CriuDumpResp {
    pub base: ProtobufCMessage,
    pub has_restored: c_int,
    pub restored: c_int,
}
message! { CriuDumpResp c"CriuDumpResp" c"criu_dump_resp"
    criu_dump_resp__descriptor criu_dump_resp__init criu_dump_resp__get_packed_size criu_dump_resp__pack
    criu_dump_resp__pack_to_buffer criu_dump_resp__unpack criu_dump_resp__free_unpacked [
    FieldDescriptor::new(c"restored", 1, Optional, Type::Bool, offset_of!(CriuDumpResp, restored)).counted(offset_of!(CriuDumpResp, has_restored)),
] by name [0] ranges [1: 0, 0: 1] }

#[repr(C)]
pub struct CriuRestoreResp {
    pub base: ProtobufCMessage,
    pub pid: i32,
}
message! { CriuRestoreResp c"CriuRestoreResp" c"criu_restore_resp"
    criu_restore_resp__descriptor criu_restore_resp__init criu_restore_resp__get_packed_size criu_restore_resp__pack
    criu_restore_resp__pack_to_buffer criu_restore_resp__unpack criu_restore_resp__free_unpacked [
    FieldDescriptor::new(c"pid", 1, Required, Type::Int32, offset_of!(CriuRestoreResp, pid)),
] by name [0] ranges [1: 0, 0: 1] }

#[repr(C)]
pub struct CriuNotify {
    pub base: ProtobufCMessage,
    pub script: *mut c_char,
    pub has_pid: c_int,
    pub pid: i32,
}
message! { CriuNotify c"CriuNotify" c"criu_notify"
    criu_notify__descriptor criu_notify__init criu_notify__get_packed_size criu_notify__pack
    criu_notify__pack_to_buffer criu_notify__unpack criu_notify__free_unpacked [
    FieldDescriptor::new(c"script", 1, Optional, Type::String, offset_of!(CriuNotify, script)),
    FieldDescriptor::new(c"pid", 2, Optional, Type::Int32, offset_of!(CriuNotify, pid)).counted(offset_of!(CriuNotify, has_pid)),
] by name [1, 0] ranges [1: 0, 0: 2] }

#[repr(C)]
pub struct CriuFeatures {
    pub base: ProtobufCMessage,
    pub has_mem_track: c_int,
    pub mem_track: c_int,
    pub has_lazy_pages: c_int,
    pub lazy_pages: c_int,
    pub has_pidfd_store: c_int,
    pub pidfd_store: c_int,
}
message! { CriuFeatures c"CriuFeatures" c"criu_features"
    criu_features__descriptor criu_features__init criu_features__get_packed_size criu_features__pack
    criu_features__pack_to_buffer criu_features__unpack criu_features__free_unpacked [
    FieldDescriptor::new(c"mem_track", 1, Optional, Type::Bool, offset_of!(CriuFeatures, mem_track)).counted(offset_of!(CriuFeatures, has_mem_track)),
    FieldDescriptor::new(c"lazy_pages", 2, Optional, Type::Bool, offset_of!(CriuFeatures, lazy_pages)).counted(offset_of!(CriuFeatures, has_lazy_pages)),
    FieldDescriptor::new(c"pidfd_store", 3, Optional, Type::Bool, offset_of!(CriuFeatures, pidfd_store)).counted(offset_of!(CriuFeatures, has_pidfd_store)),
] by name [1, 0, 2] ranges [1: 0, 0: 3] }

#[repr(C)]
pub struct CriuReq {
    pub base: ProtobufCMessage,
    pub r#type: i32,
    pub opts: *mut CriuOpts,
    pub has_notify_success: c_int,
    pub notify_success: c_int,
    pub has_keep_open: c_int,
    pub keep_open: c_int,
    pub features: *mut CriuFeatures,
    pub has_pid: c_int,
    pub pid: u32,
}
message! { CriuReq c"CriuReq" c"criu_req"
    criu_req__descriptor criu_req__init criu_req__get_packed_size criu_req__pack
    criu_req__pack_to_buffer criu_req__unpack criu_req__free_unpacked [
    FieldDescriptor::new(c"type", 1, Required, Type::Enum, offset_of!(CriuReq, r#type)).of(&raw const criu_req_type__descriptor),
    FieldDescriptor::new(c"opts", 2, Optional, Type::Message, offset_of!(CriuReq, opts)).of(&raw const criu_opts__descriptor),
    FieldDescriptor::new(c"notify_success", 3, Optional, Type::Bool, offset_of!(CriuReq, notify_success)).counted(offset_of!(CriuReq, has_notify_success)),
    FieldDescriptor::new(c"keep_open", 4, Optional, Type::Bool, offset_of!(CriuReq, keep_open)).counted(offset_of!(CriuReq, has_keep_open)),
    FieldDescriptor::new(c"features", 5, Optional, Type::Message, offset_of!(CriuReq, features)).of(&raw const criu_features__descriptor),
    FieldDescriptor::new(c"pid", 6, Optional, Type::Uint32, offset_of!(CriuReq, pid)).counted(offset_of!(CriuReq, has_pid)),
] by name [4, 3, 2, 1, 5, 0] ranges [1: 0, 0: 6] }

#[repr(C)]
pub struct CriuResp {
    pub base: ProtobufCMessage,
    pub r#type: i32,
    pub success: c_int,
    pub dump: *mut CriuDumpResp,
    pub restore: *mut CriuRestoreResp,
    pub notify: *mut CriuNotify,
    pub ps: *mut CriuPageServerInfo,
    pub has_cr_errno: c_int,
    pub cr_errno: i32,
    pub features: *mut CriuFeatures,
    pub cr_errmsg: *mut c_char,
    pub version: *mut CriuVersion,
    pub has_status: c_int,
    pub status: i32,
    pub error: *mut CriuError,
    pub n_blockers: usize,
    pub blockers: *mut *mut CriuError,
    pub progress: *mut CriuProgress,
    pub log: *mut CriuLogLine,
}
message! { CriuResp c"CriuResp" c"criu_resp"
    criu_resp__descriptor criu_resp__init criu_resp__get_packed_size criu_resp__pack
    criu_resp__pack_to_buffer criu_resp__unpack criu_resp__free_unpacked [
    FieldDescriptor::new(c"type", 1, Required, Type::Enum, offset_of!(CriuResp, r#type)).of(&raw const criu_req_type__descriptor),
    FieldDescriptor::new(c"success", 2, Required, Type::Bool, offset_of!(CriuResp, success)),
    FieldDescriptor::new(c"dump", 3, Optional, Type::Message, offset_of!(CriuResp, dump)).of(&raw const criu_dump_resp__descriptor),
    FieldDescriptor::new(c"restore", 4, Optional, Type::Message, offset_of!(CriuResp, restore)).of(&raw const criu_restore_resp__descriptor),
    FieldDescriptor::new(c"notify", 5, Optional, Type::Message, offset_of!(CriuResp, notify)).of(&raw const criu_notify__descriptor),
    FieldDescriptor::new(c"ps", 6, Optional, Type::Message, offset_of!(CriuResp, ps)).of(&raw const criu_page_server_info__descriptor),
    FieldDescriptor::new(c"cr_errno", 7, Optional, Type::Int32, offset_of!(CriuResp, cr_errno)).counted(offset_of!(CriuResp, has_cr_errno)),
    FieldDescriptor::new(c"features", 8, Optional, Type::Message, offset_of!(CriuResp, features)).of(&raw const criu_features__descriptor),
    FieldDescriptor::new(c"cr_errmsg", 9, Optional, Type::String, offset_of!(CriuResp, cr_errmsg)),
    FieldDescriptor::new(c"version", 10, Optional, Type::Message, offset_of!(CriuResp, version)).of(&raw const criu_version__descriptor),
    FieldDescriptor::new(c"status", 11, Optional, Type::Int32, offset_of!(CriuResp, status)).counted(offset_of!(CriuResp, has_status)),
    FieldDescriptor::new(c"error", 10000, Optional, Type::Message, offset_of!(CriuResp, error)).of(&raw const criu_error__descriptor),
    FieldDescriptor::new(c"blockers", 10001, Repeated, Type::Message, offset_of!(CriuResp, blockers)).counted(offset_of!(CriuResp, n_blockers)).of(&raw const criu_error__descriptor),
    FieldDescriptor::new(c"progress", 10002, Optional, Type::Message, offset_of!(CriuResp, progress)).of(&raw const criu_progress__descriptor),
    FieldDescriptor::new(c"log", 10003, Optional, Type::Message, offset_of!(CriuResp, log)).of(&raw const criu_log_line__descriptor),
] by name [12, 8, 6, 2, 11, 7, 14, 4, 13, 5, 3, 10, 1, 0, 9] ranges [1: 0, 10000: 11, 0: 15] }

#[repr(C)]
pub struct CriuVersion {
    pub base: ProtobufCMessage,
    pub major_number: i32,
    pub minor_number: i32,
    pub gitid: *mut c_char,
    pub has_sublevel: c_int,
    pub sublevel: i32,
    pub has_extra: c_int,
    pub extra: i32,
    pub name: *mut c_char,
}
message! { CriuVersion c"CriuVersion" c"criu_version"
    criu_version__descriptor criu_version__init criu_version__get_packed_size criu_version__pack
    criu_version__pack_to_buffer criu_version__unpack criu_version__free_unpacked [
    FieldDescriptor::new(c"major_number", 1, Required, Type::Int32, offset_of!(CriuVersion, major_number)),
    FieldDescriptor::new(c"minor_number", 2, Required, Type::Int32, offset_of!(CriuVersion, minor_number)),
    FieldDescriptor::new(c"gitid", 3, Optional, Type::String, offset_of!(CriuVersion, gitid)),
    FieldDescriptor::new(c"sublevel", 4, Optional, Type::Int32, offset_of!(CriuVersion, sublevel)).counted(offset_of!(CriuVersion, has_sublevel)),
    FieldDescriptor::new(c"extra", 5, Optional, Type::Int32, offset_of!(CriuVersion, extra)).counted(offset_of!(CriuVersion, has_extra)),
    FieldDescriptor::new(c"name", 6, Optional, Type::String, offset_of!(CriuVersion, name)),
] by name [4, 2, 0, 1, 5, 3] ranges [1: 0, 0: 6] }

#[repr(C)]
pub struct CriuError {
    pub base: ProtobufCMessage,
    pub has_code: c_int,
    pub code: u32,
    pub has_pid: c_int,
    pub pid: i32,
    pub phase: *mut c_char,
    pub object: *mut c_char,
    pub cause: *mut c_char,
    pub hint: *mut c_char,
    pub has_cr_errno: c_int,
    pub cr_errno: i32,
}
message! { CriuError c"CriuError" c"criu_error"
    criu_error__descriptor criu_error__init criu_error__get_packed_size criu_error__pack
    criu_error__pack_to_buffer criu_error__unpack criu_error__free_unpacked [
    FieldDescriptor::new(c"code", 1, Optional, Type::Uint32, offset_of!(CriuError, code)).counted(offset_of!(CriuError, has_code)),
    FieldDescriptor::new(c"pid", 2, Optional, Type::Int32, offset_of!(CriuError, pid)).counted(offset_of!(CriuError, has_pid)),
    FieldDescriptor::new(c"phase", 3, Optional, Type::String, offset_of!(CriuError, phase)),
    FieldDescriptor::new(c"object", 4, Optional, Type::String, offset_of!(CriuError, object)),
    FieldDescriptor::new(c"cause", 5, Optional, Type::String, offset_of!(CriuError, cause)),
    FieldDescriptor::new(c"hint", 6, Optional, Type::String, offset_of!(CriuError, hint)),
    FieldDescriptor::new(c"cr_errno", 7, Optional, Type::Int32, offset_of!(CriuError, cr_errno)).counted(offset_of!(CriuError, has_cr_errno)),
] by name [4, 0, 6, 5, 3, 2, 1] ranges [1: 0, 0: 7] }

#[repr(C)]
pub struct CriuProgress {
    pub base: ProtobufCMessage,
    pub phase: *mut c_char,
    pub has_done: c_int,
    pub done: u64,
    pub has_total: c_int,
    pub total: u64,
}
message! { CriuProgress c"CriuProgress" c"criu_progress"
    criu_progress__descriptor criu_progress__init criu_progress__get_packed_size criu_progress__pack
    criu_progress__pack_to_buffer criu_progress__unpack criu_progress__free_unpacked [
    FieldDescriptor::new(c"phase", 1, Optional, Type::String, offset_of!(CriuProgress, phase)),
    FieldDescriptor::new(c"done", 2, Optional, Type::Uint64, offset_of!(CriuProgress, done)).counted(offset_of!(CriuProgress, has_done)),
    FieldDescriptor::new(c"total", 3, Optional, Type::Uint64, offset_of!(CriuProgress, total)).counted(offset_of!(CriuProgress, has_total)),
] by name [1, 0, 2] ranges [1: 0, 0: 3] }

#[repr(C)]
pub struct CriuLogLine {
    pub base: ProtobufCMessage,
    pub has_level: c_int,
    pub level: u32,
    pub text: *mut c_char,
}
message! { CriuLogLine c"CriuLogLine" c"criu_log_line"
    criu_log_line__descriptor criu_log_line__init criu_log_line__get_packed_size criu_log_line__pack
    criu_log_line__pack_to_buffer criu_log_line__unpack criu_log_line__free_unpacked [
    FieldDescriptor::new(c"level", 1, Optional, Type::Uint32, offset_of!(CriuLogLine, level)).counted(offset_of!(CriuLogLine, has_level)),
    FieldDescriptor::new(c"text", 2, Optional, Type::String, offset_of!(CriuLogLine, text)),
] by name [0, 1] ranges [1: 0, 0: 2] }
