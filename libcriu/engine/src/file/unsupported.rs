//! Names what no kind is responsible for, so that whoever reads the refusal knows what to close.

use rustix::net::AddressFamily;
use rustix::net::sockopt::{socket_domain, socket_type};

use super::path::shown;
use super::seen::Seen;

/// Why it is refused, and what helps.
pub(crate) fn describe(seen: &Seen<'_>) -> (String, String) {
    let name = seen.link.strip_prefix(b"anon_inode:");
    let cause = match (seen.file_type(), name) {
        (libc::S_IFSOCK, _) if !seen.is_o_path() => socket(seen),
        (_, Some(name)) => {
            let name = shown(name);
            let name = name.trim_start_matches('[').trim_end_matches(']');
            format!("{} cannot be saved", anon(name))
        }
        _ if is_namespace(&seen.link) => "a descriptor of a namespace cannot be saved yet".into(),
        (kind, _) => format!("a file of type {:#o} that has no path cannot be saved", kind >> 12),
    };
    (cause, "close it before the dump".into())
}

fn socket(seen: &Seen<'_>) -> String {
    let family = match socket_domain(&seen.dup) {
        Ok(AddressFamily::INET) => "IPv4".into(),
        Ok(AddressFamily::INET6) => "IPv6".into(),
        Ok(AddressFamily::NETLINK) => "netlink".into(),
        Ok(AddressFamily::PACKET) => "packet".into(),
        Ok(AddressFamily::VSOCK) => "vsock".into(),
        Ok(other) => family(other.as_raw().into()),
        Err(e) => format!("unknown ({e})"),
    };
    let kind = match socket_type(&seen.dup).map(|t| t.as_raw() as i32) {
        Ok(libc::SOCK_STREAM) => "stream ",
        Ok(libc::SOCK_DGRAM) => "datagram ",
        Ok(libc::SOCK_RAW) => "raw ",
        Ok(libc::SOCK_SEQPACKET) => "packet ",
        _ => "",
    };
    format!("{} {family} {kind}socket cannot be saved yet", if family.starts_with(['I', 'A']) { "an" } else { "a" })
}

/// What families without a name in rustix are called.
fn family(number: i32) -> String {
    const AF_XDP: i32 = 44;
    match number {
        libc::AF_ALG => "crypto (AF_ALG)".into(),
        libc::AF_CAN => "CAN".into(),
        libc::AF_BLUETOOTH => "Bluetooth".into(),
        libc::AF_RDS => "RDS".into(),
        libc::AF_TIPC => "TIPC".into(),
        AF_XDP => "AF_XDP".into(),
        other => format!("family {other}"),
    }
}

/// Names of the kernel in words.
fn anon(name: &str) -> String {
    match name {
        "perf_event" => "a perf event".into(),
        "userfaultfd" => "a userfaultfd".into(),
        "seccomp notify" => "a seccomp listener".into(),
        "landlock-ruleset" => "a landlock ruleset".into(),
        "fscontext" | "mnt_ns" => "a mount context".into(),
        other if other.starts_with("bpf") => format!("a BPF object ({other})"),
        other if other.starts_with("kvm") => format!("a KVM object ({other})"),
        other => format!("a kernel object of kind \"{other}\""),
    }
}

fn is_namespace(link: &[u8]) -> bool {
    let kinds = ["mnt", "net", "pid", "uts", "ipc", "user", "cgroup", "time", "pid_for_children", "time_for_children"];
    kinds.iter().any(|k| link.strip_prefix(k.as_bytes()).is_some_and(|rest| rest.starts_with(b":[")))
}
