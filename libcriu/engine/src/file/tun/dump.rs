//! TUN and TAP: which device it is.

use std::os::fd::AsFd;

use criu_images::messages::{FdTypes, FileEntry, TunfileEntry};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{major, minor};
use rustix::net::{AddressFamily, SocketFlags, SocketType, netdevice::name_to_index, socket_with};
use rustix::time::Timespec;

use super::NUMBER;
use crate::error::Result;
use crate::file::FileId;
use crate::file::collect::Collected;
use crate::file::kind::{DumpKind, Unsaved};
use crate::file::path::{Place, place, shown};
use crate::file::seen::Seen;
use crate::namespace::Namespace;
use crate::sys::kernel::Kernel;
use crate::sys::tun::{self, PERSISTENT};

#[derive(Debug)]
pub(crate) struct Tun;

impl DumpKind for Tun {
    fn claims(&self, seen: &Seen<'_>) -> bool {
        let number = (major(seen.stat.st_rdev), minor(seen.stat.st_rdev));
        seen.file_type() == libc::S_IFCHR && number == NUMBER && !seen.is_o_path()
    }

    fn collect(&mut self, seen: &Seen<'_>, id: FileId, _common: &mut Collected) -> Result<FileEntry, Unsaved> {
        let Place::Here(path) = place(&seen.link, &seen.stat) else {
            let cause = format!("{} does not lead to /dev/net/tun", shown(&seen.link));
            return Err(Unsaved::because(cause).hint("put its node back at its path"));
        };
        let device = tun::device(seen.dup.as_fd()).map_err(|e| Unsaved::os(seen, "ioctl TUNGETIFF", e))?;
        match &device {
            Some(device) => check(seen, device)?,
            None => refuse_detached(seen)?,
        }
        let tunf = TunfileEntry {
            id,
            netdev: device.as_ref().map(|d| d.name.clone()),
            ns_id: Some(Namespace::Net as u32 + 1),
            path: Some(path),
            flags: Some(seen.info.flags),
            fown: Some(seen.fown),
            device_flags: device.as_ref().map(|d| flags(seen, d)).transpose()?,
            ..TunfileEntry::default()
        };
        Ok(FileEntry { r#type: FdTypes::Tunf as i32, id, tunf: Some(tunf.into()), ..FileEntry::default() })
    }
}

fn check(seen: &Seen<'_>, device: &tun::Device) -> Result<(), Unsaved> {
    let name = &device.name;
    if device.flags & PERSISTENT == 0 {
        let cause = format!("the TUN/TAP device {name} goes with its last descriptor: it cannot be saved");
        return Err(Unsaved::because(cause).hint("make it persistent (TUNSETPERSIST), or close it before the dump"));
    }
    let socket = socket_with(AddressFamily::INET, SocketType::DGRAM, SocketFlags::CLOEXEC, None);
    if !socket.is_ok_and(|socket| name_to_index(&socket, name).is_ok()) {
        let cause = format!("the TUN/TAP device {name} is in another network namespace");
        return Err(Unsaved::because(cause).hint("dump inside its network namespace"));
    }
    let mut fds = [PollFd::new(&seen.dup, PollFlags::IN)];
    poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })).map_err(|e| Unsaved::os(seen, "poll", e))?;
    if fds[0].revents().contains(PollFlags::IN) {
        let cause = format!("packets wait to be read from the TUN/TAP device {name}");
        return Err(Unsaved::because(cause).hint("have them read before the dump"));
    }
    Ok(())
}

/// How the device was asked for. TUNGETIFF has the bit of IFF_NO_PI also for a descriptor without a filter.
fn flags(seen: &Seen<'_>, device: &tun::Device) -> Result<u32, Unsaved> {
    let look = || {
        let kernel = Kernel::open()?;
        let tun_file = kernel.number(kernel.file(seen.dup.as_fd())?, "file", "private_data")?;
        kernel.number(kernel.number(tun_file, "tun_file", "tun")?, "tun_struct", "flags")
    };
    if let Ok(flags) = look() {
        return Ok(flags as u32);
    }
    // Of the network namespace of whoever has mounted it.
    let told = std::fs::read_to_string(format!("/sys/class/net/{}/tun_flags", device.name));
    let told = told.ok().and_then(|text| u32::from_str_radix(text.trim().strip_prefix("0x")?, 16).ok());
    told.ok_or_else(|| {
        Unsaved::because(format!("what packets of the TUN/TAP device {} begin with cannot be found out", device.name))
            .hint("give the engine the right to look (CAP_BPF and CAP_PERFMON), or mount /sys in its network namespace")
    })
}

/// A queue that was detached looks like none.
fn refuse_detached(seen: &Seen<'_>) -> Result<(), Unsaved> {
    let look = || {
        let kernel = Kernel::open()?;
        let tun_file = kernel.number(kernel.file(seen.dup.as_fd())?, "file", "private_data")?;
        kernel.number(tun_file, "tun_file", "detached")
    };
    match look() {
        Ok(0) => Ok(()),
        Ok(_) => Err(Unsaved::because("a detached queue of a TUN/TAP device cannot be saved")
            .hint("attach it (TUNSETQUEUE), or close it before the dump")),
        Err(e) => {
            let (pid, object) = (seen.task.pid, seen.object());
            log::warn!("pid {pid} {object}: a detached queue would be lost: it cannot be seen ({e})");
            Ok(())
        }
    }
}
