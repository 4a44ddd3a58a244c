//! Setters: one small function per shape of option, written as macros over the field they set.

use super::{Given, Settings, value};
use crate::messages::{
    CgroupRoot, CriuCgMode, CriuPageServerInfo, CriuVethPair, ExtMountMap, InheritFd, JoinNamespace, UnixSk,
};

type Done = Result<(), String>;

/// A setter that writes a switch of the message.
macro_rules! flag {
    ($field:ident) => {
        |s: &mut $crate::options::Settings, given: $crate::options::Given<'_>| {
            s.msg.$field = Some(given != $crate::options::Given::Off);
            Ok(())
        }
    };
}

/// A setter that writes a switch of the command.
macro_rules! command_flag {
    ($field:ident) => {
        |s: &mut $crate::options::Settings, given: $crate::options::Given<'_>| {
            s.command.$field = given != $crate::options::Given::Off;
            Ok(())
        }
    };
}

/// A setter that writes a value of the message, read by `$read`.
macro_rules! single {
    ($field:ident, $read:expr) => {
        |s: &mut $crate::options::Settings, given: $crate::options::Given<'_>| {
            s.msg.$field = Some($read($crate::options::set::text_of(given))?);
            Ok(())
        }
    };
}

/// A setter that adds a value to a list of the message.
macro_rules! added {
    ($field:ident, $read:expr) => {
        |s: &mut $crate::options::Settings, given: $crate::options::Given<'_>| {
            s.msg.$field.push($read($crate::options::set::text_of(given))?);
            Ok(())
        }
    };
}

pub(super) use {added, command_flag, flag, single};

/// The value given; empty for a bare switch.
pub(super) fn text_of(given: Given<'_>) -> &str {
    match given {
        Given::Value(v) => v,
        Given::On | Given::Off => "",
    }
}

/// The page server's part of the message.
fn ps(s: &mut Settings) -> &mut CriuPageServerInfo {
    s.msg.ps.get_or_insert_default()
}

pub(super) fn address(s: &mut Settings, given: Given<'_>) -> Done {
    ps(s).address = Some(value::text(text_of(given))?);
    Ok(())
}

pub(super) fn port(s: &mut Settings, given: Given<'_>) -> Done {
    ps(s).port = Some(i32::from(value::number::<u16>(text_of(given))?));
    Ok(())
}

pub(super) fn ps_socket(s: &mut Settings, given: Given<'_>) -> Done {
    ps(s).fd = Some(value::fd(text_of(given))?);
    Ok(())
}

/// A bare `-v` goes one level up; letters behind it (`-vvv`) one more each; `-v4` and `--verbosity=4` set the level.
/// `-verbosity=0` with one dash arrives here as `erbosity=0`.
pub(super) fn verbosity(s: &mut Settings, given: Given<'_>) -> Done {
    const DEFAULT: i32 = 2;
    const HIGHEST: i32 = 4;
    let text = text_of(given);
    let text = text.strip_prefix("erbosity").map_or(text, |rest| rest.strip_prefix('=').unwrap_or(rest));
    let level = if text.chars().all(|c| c == 'v') {
        let steps = i32::try_from(text.len()).unwrap_or(HIGHEST).saturating_add(1);
        s.msg.log_level.unwrap_or(DEFAULT).saturating_add(steps)
    } else {
        i32::from(value::number::<u8>(text)?)
    };
    s.msg.log_level = Some(level.min(HIGHEST));
    Ok(())
}

pub(super) fn ext_unix_sk(s: &mut Settings, given: Given<'_>) -> Done {
    s.msg.ext_unix_sk = Some(true);
    if let Given::Value(inodes) = given {
        for inode in value::list(inodes)? {
            s.msg.unix_sk_ino.push(UnixSk { inode: value::number(inode)? });
        }
    }
    Ok(())
}

pub(super) fn ext_mount_map(s: &mut Settings, given: Given<'_>) -> Done {
    let text = text_of(given);
    if text == "auto" {
        s.msg.auto_ext_mnt = Some(true);
        return Ok(());
    }
    let (key, val) = value::pair(text, ':', "KEY:VALUE, or auto")?;
    s.msg.ext_mnt.push(ExtMountMap { key, val });
    Ok(())
}

pub(super) fn veth(text: &str) -> Result<CriuVethPair, String> {
    let (if_in, if_out) = value::pair(text, '=', "INSIDE=OUTSIDE[@BRIDGE]")?;
    Ok(CriuVethPair { if_in, if_out })
}

pub(super) fn inherit_fd(text: &str) -> Result<InheritFd, String> {
    let (fd, key) = value::fd_label(text)?;
    Ok(InheritFd { key: key.to_owned(), fd })
}

pub(super) fn join_ns(text: &str) -> Result<JoinNamespace, String> {
    let (ns, rest) = value::pair(text, ':', "NS:{PID|FILE}[,EXTRA]")?;
    let names = ["net", "uts", "ipc", "pid", "user", "mnt", "time", "cgroup"].map(|n| (n, ()));
    value::word(&ns, &names)?;
    let (ns_file, extra_opt) = match rest.split_once(',') {
        None => (rest, None),
        Some((file, extra)) => (file.to_owned(), Some(extra.to_owned())),
    };
    Ok(JoinNamespace { ns, ns_file: value::text(&ns_file)?, extra_opt })
}

/// `[CONTROLLERS:]/PATH`.
pub(super) fn cgroup_root(text: &str) -> Result<CgroupRoot, String> {
    let (ctrl, path) = match text.split_once(":/") {
        Some((ctrl, rest)) if !ctrl.is_empty() && !ctrl.contains('/') => (Some(ctrl.to_owned()), format!("/{rest}")),
        _ => (None, text.to_owned()),
    };
    if !path.starts_with('/') {
        return Err(format!("`{text}` is not of the form [CONTROLLER:]/PATH"));
    }
    Ok(CgroupRoot { ctrl, path })
}

pub(super) fn manage_cgroups(s: &mut Settings, given: Given<'_>) -> Done {
    let mode = match given {
        Given::Value(mode) => value::word(
            mode,
            &[
                ("none", CriuCgMode::CgNone),
                ("props", CriuCgMode::Props),
                ("soft", CriuCgMode::Soft),
                ("full", CriuCgMode::Full),
                ("strict", CriuCgMode::Strict),
                ("ignore", CriuCgMode::Ignore),
            ],
        )?,
        Given::On | Given::Off => CriuCgMode::Default,
    };
    s.msg.manage_cgroups = Some(mode != CriuCgMode::Ignore);
    s.msg.manage_cgroups_mode = Some(mode as i32);
    Ok(())
}

pub(super) fn enable_fs(s: &mut Settings, given: Given<'_>) -> Done {
    for fs in value::list(text_of(given))? {
        s.msg.enable_fs.push(fs.to_owned());
    }
    Ok(())
}

pub(super) fn dump_controllers(s: &mut Settings, given: Given<'_>) -> Done {
    for name in value::list(text_of(given))? {
        s.msg.cgroup_dump_controller.push(name.to_owned());
    }
    Ok(())
}

pub(super) fn empty_ns(s: &mut Settings, given: Given<'_>) -> Done {
    const CLONE_NEWNET: u32 = 0x4000_0000;
    let bit = value::word(text_of(given), &[("net", CLONE_NEWNET)])?;
    s.msg.empty_ns = Some(s.msg.empty_ns() | bit);
    Ok(())
}

pub(super) fn cpu_cap(s: &mut Settings, given: Given<'_>) -> Done {
    s.msg.cpu_cap = Some(match given {
        Given::Value(caps) => value::cpu_cap(caps)?,
        Given::On | Given::Off => u32::MAX,
    });
    Ok(())
}

pub(super) fn lsm_profile(text: &str) -> Result<String, String> {
    value::pair(text, ':', "TYPE:NAME").map(|_| text.to_owned())
}

pub(super) fn file_validation(text: &str) -> Result<String, String> {
    value::word(text, &[("filesize", ()), ("buildid", ())]).map(|()| text.to_owned())
}
