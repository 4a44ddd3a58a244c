use std::ffi::c_void;

use crate::ffi::rpc::CriuNotify;

/// What criu_service_comm said in older versions; kept for programs that mention it.
#[repr(C)]
#[allow(dead_code)]
pub enum criu_service_comm {
    CRIU_COMM_SK = 0,
    CRIU_COMM_FD = 1,
    CRIU_COMM_BIN = 2,
}

/// How control groups are treated.
#[repr(C)]
#[allow(dead_code)]
pub enum criu_cg_mode {
    CRIU_CG_MODE_IGNORE = 0,
    CRIU_CG_MODE_NONE = 1,
    CRIU_CG_MODE_PROPS = 2,
    CRIU_CG_MODE_SOFT = 3,
    CRIU_CG_MODE_FULL = 4,
    CRIU_CG_MODE_STRICT = 5,
    CRIU_CG_MODE_DEFAULT = 6,
}

/// What keeps packets away from connections that are being dumped.
#[repr(C)]
#[allow(dead_code)]
pub enum criu_network_lock_method {
    CRIU_NETWORK_LOCK_IPTABLES = 1,
    CRIU_NETWORK_LOCK_NFTABLES = 2,
    CRIU_NETWORK_LOCK_SKIP = 3,
}

/// How a pre-dump reads memory.
#[repr(C)]
#[allow(dead_code)]
pub enum criu_pre_dump_mode {
    CRIU_PRE_DUMP_SPLICE = 1,
    CRIU_PRE_DUMP_READ = 2,
}

/// Options of operations: made by criu_local_init_opts, used by any number of operations, freed by criu_local_free_opts.
/// Distinct ones may be used by distinct threads at once.
pub struct criu_opts {
    _opaque: [u8; 0],
}

/// Argument of the callback of criu_dump_iters.
pub type criu_predump_info = *mut c_void;

/// What a notification callback gets; criu_notify_pid reads it.
pub type criu_notify_arg_t = *mut CriuNotify;

/// In: the features that are asked about. Out: those of them that there are.
#[repr(C)]
pub struct criu_feature_check {
    pub mem_track: bool,
    pub lazy_pages: bool,
    pub pidfd_store: bool,
}
