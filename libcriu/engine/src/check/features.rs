//! The features, each with its probe.

use super::Level::{Basic, Experimental, Extra};
use super::probe::{file, memory, network, task};
use super::{Feature, Level, Probe};

const fn feature(name: &'static str, level: Level, purpose: &'static str, probe: fn() -> Probe) -> Feature {
    Feature { name, level, purpose, probe }
}

/// Every feature that `criu check --feature` knows.
pub const FEATURES: &[Feature] = &[
    feature("mnt_id", Basic, "the mount that a descriptor belongs to", file::mnt_id),
    feature("mem_dirty_track", Extra, "memory that changed since the last dump", memory::mem_dirty_track),
    feature("aio_remap", Basic, "moving AIO rings", memory::aio_remap),
    feature("timerfd", Basic, "timerfd with its clock and ticks", file::timerfd),
    feature("tun", Extra, "TUN and TAP devices", file::tun),
    feature("tun_ns", Extra, "the network namespace of a TUN device", file::tun_ns),
    feature("userns", Extra, "user namespaces", task::user_namespaces),
    feature("fdinfo_lock", Extra, "the file locks of a descriptor", file::fdinfo_lock),
    feature("seccomp_suspend", Basic, "tasks whose seccomp filters forbid what a dump does", task::seccomp_suspend),
    feature("seccomp_filters", Basic, "reading seccomp filters", task::seccomp_filters),
    feature("loginuid", Extra, "the login uid", task::loginuid),
    feature("cgroupns", Extra, "cgroup namespaces", task::cgroup_namespaces),
    feature("autofs", Experimental, "autofs mounts", file::autofs),
    feature("tcp_half_closed", Extra, "half closed TCP connections", network::tcp_half_closed),
    feature("compat_cr", Extra, "32-bit tasks", memory::compat_cr),
    feature("uffd", Extra, "fetching memory when it is touched", memory::uffd),
    feature("uffd-noncoop", Extra, "lazy pages of tasks that fork or move memory", memory::uffd_noncoop),
    feature("can_map_vdso", Basic, "placing the vDSO", memory::can_map_vdso),
    feature("sk_ns", Extra, "the network namespace of a socket", network::socket_namespace),
    feature("sk_unix_file", Extra, "the file of a unix socket", network::unix_file),
    feature("net_diag_raw", Extra, "raw sockets", network::net_diag_raw),
    feature("nsid", Extra, "ids of network namespaces", network::nsid),
    feature("link_nsid", Extra, "devices whose other end is in another network namespace", network::link_nsid),
    feature("kcmp_epoll", Basic, "the targets of epoll", task::kcmp_epoll),
    feature("timens", Extra, "time namespaces", task::time_namespaces),
    feature("external_net_ns", Extra, "external network namespaces", network::external_net_ns),
    feature("clone3_set_tid", Basic, "choosing pids", task::clone3_set_tid),
    feature("newifindex", Extra, "choosing the indexes of network devices", network::new_ifindex),
    feature("nftables", Extra, "nftables rules", network::nftables),
    feature("has_ipt_legacy", Extra, "rules of the old iptables", network::has_ipt_legacy),
    feature("pidfd_store", Extra, "noticing pids used again between dumps", task::pidfd_store),
    feature("ns_pid", Basic, "pids in nested namespaces", task::ns_pid),
    feature("apparmor_stacking", Extra, "stacked AppArmor profiles", file::apparmor_stacking),
    feature("network_lock_nftables", Extra, "holding packets back by nftables", network::network_lock_nftables),
    feature("sockopt_buf_lock", Extra, "locked socket buffer sizes", network::sockopt_buf_lock),
    feature("memfd_hugetlb", Extra, "memfds of huge pages", memory::memfd_hugetlb),
    feature("move_mount_set_group", Extra, "mounts of one peer group", file::move_mount_set_group),
    feature("openat2", Extra, "opening paths within limits", file::openat2),
    feature("get_rseq_conf", Basic, "restartable sequences", task::rseq_configuration),
    feature("ipv6_freebind", Extra, "sockets bound to addresses that are not there", network::ipv6_freebind),
    feature("pagemap_scan", Basic, "finding the pages to save", memory::pagemap_scan_works),
    feature("timer_cr_ids", Extra, "choosing the ids of POSIX timers", task::timer_ids),
    feature("overlayfs_maps", Extra, "mapped files of an overlay", file::overlayfs_maps),
    feature("breakpoints", Extra, "hardware breakpoints", task::breakpoints),
    feature("pagemap_scan_guard_pages", Extra, "guard pages", memory::guard_pages),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::{feature, has_feature};

    const NAMES: &str = "mnt_id mem_dirty_track aio_remap timerfd tun tun_ns userns fdinfo_lock seccomp_suspend \
        seccomp_filters loginuid cgroupns autofs tcp_half_closed compat_cr uffd uffd-noncoop can_map_vdso sk_ns \
        sk_unix_file net_diag_raw nsid link_nsid kcmp_epoll timens external_net_ns clone3_set_tid newifindex nftables \
        has_ipt_legacy pidfd_store ns_pid apparmor_stacking network_lock_nftables sockopt_buf_lock memfd_hugetlb \
        move_mount_set_group openat2 get_rseq_conf ipv6_freebind pagemap_scan timer_cr_ids overlayfs_maps breakpoints \
        pagemap_scan_guard_pages";

    #[test]
    fn every_name_of_the_contract_is_probed() {
        assert_eq!(NAMES.split_whitespace().count(), FEATURES.len());
        for name in NAMES.split_whitespace() {
            let f = feature(name).unwrap_or_else(|| panic!("{name} is missing"));
            match (f.probe)() {
                Probe::Present => {}
                Probe::Absent(why) => {
                    assert!(!why.is_empty());
                    eprintln!("{name}: {why}");
                }
            }
        }
        assert!(!has_feature("no_such_feature"));
    }

    #[test]
    fn a_probe_leaves_no_descriptor_and_no_child_behind() {
        // In a process of its own: the tests beside this one open descriptors and have children as well.
        let alone = crate::sys::trial::fork(|| {
            let fds = || std::fs::read_dir("/proc/self/fd").unwrap().count();
            let children = || std::fs::read_to_string("/proc/thread-self/children").unwrap();
            for f in FEATURES {
                (f.probe)();
            }
            let (before, none) = (fds(), children());
            for f in FEATURES {
                (f.probe)();
            }
            assert_eq!(fds(), before);
            assert_eq!(children(), none);
        });
        alone.finish().unwrap();
    }
}
