//! The one list of options and requests whose feature is not there yet. They are refused by name when used, never ignored;
//! whoever brings the feature takes its row out.

use criu_images::messages::{CriuCgMode, CriuNetworkLockMethod, CriuOpts};
use criu_images::options::CommandSettings;

use crate::error::{Error, Phase, Result};

/// An option of the message, by its name on the command line, and whether a request uses it.
struct Row {
    option: &'static str,
    is_used: fn(&CriuOpts) -> bool,
}

const fn row(option: &'static str, is_used: fn(&CriuOpts) -> bool) -> Row {
    Row { option, is_used }
}

const ROWS: &[Row] = &[
    row("network-lock", |o| o.network_lock.is_some_and(|n| CriuNetworkLockMethod::try_from(n).is_err())),
    row("page-server", |o| o.ps.is_some()),
    row("root", |o| o.root.is_some()),
    row("prev-images-dir", |o| o.parent_img.is_some()),
    row("track-mem", CriuOpts::track_mem),
    row("auto-dedup", CriuOpts::auto_dedup),
    row("pre-dump-mode", |o| o.pre_dump_mode.is_some()),
    row("pidfd-store", |o| o.pidfd_store_sk.is_some_and(|fd| fd != -1)),
    row("lazy-pages", CriuOpts::lazy_pages),
    row("stream", CriuOpts::stream),
    row("veth-pair", |o| !o.veths.is_empty()),
    row("ext-mount-map", |o| !o.ext_mnt.is_empty() || o.auto_ext_mnt()),
    row("enable-external-sharing", CriuOpts::ext_sharing),
    row("enable-external-masters", CriuOpts::ext_masters),
    row("skip-mnt", |o| !o.skip_mnt.is_empty()),
    row("enable-fs", |o| !o.enable_fs.is_empty()),
    row("mntns-compat-mode", CriuOpts::mntns_compat_mode),
    row("empty-ns", |o| o.empty_ns() != 0),
    row("join-ns", |o| !o.join_ns.is_empty()),
    row("weak-sysctls", CriuOpts::weak_sysctls),
    row("manage-cgroups", |o| {
        o.manage_cgroups() || o.manage_cgroups_mode.is_some_and(|m| m != CriuCgMode::Ignore as i32)
    }),
    row("cgroup-root", |o| !o.cg_root.is_empty()),
    row("cgroup-props", |o| o.cgroup_props.is_some()),
    row("cgroup-props-file", |o| o.cgroup_props_file.is_some()),
    row("cgroup-dump-controller", |o| !o.cgroup_dump_controller.is_empty()),
    row("cgroup-yard", |o| o.cgroup_yard.is_some()),
    row("freeze-cgroup", |o| o.freeze_cgroup.is_some()),
    row("lsm-profile", |o| o.lsm_profile.is_some()),
    row("lsm-mount-context", |o| o.lsm_mount_context.is_some()),
    row("cpu-cap", |o| o.cpu_cap.is_some_and(|c| c != u32::MAX)),
    row("unprivileged", CriuOpts::unprivileged),
    row("allow-uprobes", CriuOpts::allow_uprobes),
    row("libdir", |o| o.libdir.is_some()),
    row("tls", CriuOpts::tls),
    row("tls-cacert", |o| o.tls_cacert.is_some()),
    row("tls-cacrl", |o| o.tls_cacrl.is_some()),
    row("tls-cert", |o| o.tls_cert.is_some()),
    row("tls-key", |o| o.tls_key.is_some()),
    row("tls-no-cn-verify", CriuOpts::tls_no_cn_verify),
];

/// Refuses the first option of a request whose feature is not there yet.
///
/// # Errors
/// EBADRQC, naming the option.
pub fn refuse(opts: &CriuOpts) -> Result<()> {
    opts.external.iter().try_for_each(|key| external(key))?;
    match ROWS.iter().find(|r| (r.is_used)(opts)) {
        None => Ok(()),
        Some(row) => {
            Err(Error::new(Phase::Options, format!("--{}", row.option), "this option's feature is not there yet")
                .hint("leave it out")
                .errno(libc::EBADRQC))
        }
    }
}

/// What `external` may name: files, terminals and unix sockets. The others belong to namespaces.
fn external(key: &str) -> Result<()> {
    let kind = key.split(['[', ':']).next().unwrap_or_default();
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let (cause, hint) = match kind {
        "file" | "tty" if key.contains('[') => return Ok(()),
        "unix" if key.strip_prefix("unix[").and_then(|k| k.strip_suffix(']')).is_some_and(is_number) => return Ok(()),
        "file" | "tty" | "unix" => ("no key of that form", "file[MNT_ID:INODE], tty[RDEV:DEV] or unix[INODE]"),
        "mnt" => ("external mounts are not there yet", "leave it out"),
        "dev" => ("external block devices are not there yet", "leave it out"),
        "net" | "veth" | "macvlan" => ("external network devices and namespaces are not there yet", "leave it out"),
        "pid" => ("external pid namespaces are not there yet", "leave it out"),
        _ => ("no kind of resource", "file[...], tty[...] or unix[...]"),
    };
    Err(Error::new(Phase::Options, format!("--external {key}"), cause).hint(hint).errno(libc::EBADRQC))
}

/// Refuses an option without a field in the message, as [`refuse`] does.
///
/// # Errors
/// EBADRQC, naming the option.
pub fn refuse_command(command: &CommandSettings) -> Result<()> {
    if command.page_server { Err(option("page-server")) } else { Ok(()) }
}

fn option(name: &str) -> Error {
    Error::new(Phase::Options, format!("--{name}"), "this option's feature is not there yet")
        .hint("leave it out")
        .errno(libc::EBADRQC)
}

/// The refusal of a whole request or command.
pub fn request(name: &str) -> Error {
    Error::new(Phase::Options, name, "not there yet in this version").errno(libc::EBADRQC)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_there_is_refused_by_name() {
        assert!(refuse(&CriuOpts { shell_job: Some(true), leave_running: Some(true), ..Default::default() }).is_ok());
        assert!(refuse(&CriuOpts { tls: Some(false), ..Default::default() }).is_ok());
        let e = refuse(&CriuOpts { tls: Some(true), ..Default::default() }).unwrap_err();
        assert_eq!(e.errno, libc::EBADRQC);
        assert!(e.to_string().starts_with("--tls: "), "{e}");
    }

    #[test]
    fn external_resources_of_every_kind() {
        let external = |key: &str| refuse(&CriuOpts { external: vec![key.to_string()], ..Default::default() });
        for key in ["file[1d:4be]", "tty[8800:e]", "unix[4711]"] {
            assert!(external(key).is_ok(), "{key}");
        }
        let wrong = ["mnt[]", "mnt[/data]:store", "dev[8/1]:root", "net[4026531992]:host", "veth[eth0]:veth1@br0"];
        for key in wrong.into_iter().chain(["macvlan[eth0]:eth1", "pid[4026531836]:host", "unix[a]", "file", "sky[1]"])
        {
            let e = external(key).unwrap_err();
            assert_eq!(e.errno, libc::EBADRQC);
            assert!(e.to_string().starts_with(&format!("--external {key}: ")), "{e}");
        }
    }
}
