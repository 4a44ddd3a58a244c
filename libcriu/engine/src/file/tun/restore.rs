//! TUN and TAP: the node is opened and put behind its device.

use std::os::fd::{AsFd, OwnedFd};

use criu_images::ImageDir;
use criu_images::messages::{FdTypes, FileEntry, TunfileEntry};
use rustix::fs::{CWD, Mode, OFlags, fstat, major, minor, openat};
use rustix::net::{AddressFamily, SocketFlags, SocketType, netdevice::name_to_index, socket_with};

use super::NUMBER;
use crate::error::{Error, Phase, Result};
use crate::file::kind::{RestoreKind, body};
use crate::file::load::Plan;
use crate::file::object::Object;
use crate::file::path::shown;
use crate::sys::tun::{Device, attach};

#[derive(Debug)]
pub(crate) struct Tun;

const USUAL_PATH: &str = "/dev/net/tun";

impl RestoreKind for Tun {
    fn load(&mut self, plan: &Plan, _images: &ImageDir) -> Result<()> {
        for entry in plan.entries.values().filter(|e| e.r#type() == FdTypes::Tunf) {
            let tunf = body(entry, entry.tunf.as_ref())?;
            let wrong = |cause: &str| Err(Error::new(Phase::Check, object(tunf), cause));
            let name = tunf.netdev.as_deref();
            if name.is_some_and(|n| n.is_empty() || n.len() >= libc::IFNAMSIZ || n.contains(['/', '\0', '%'])) {
                return wrong("the name of its device is none");
            }
            if tunf.detached() || (name.is_some() && tunf.device_flags.is_none()) {
                return wrong("the images do not tell what its device is like");
            }
        }
        Ok(())
    }

    fn open(&mut self, _plan: &mut Plan, _object: Object, members: &[&FileEntry]) -> Result<Vec<OwnedFd>> {
        members.iter().map(|m| open(body(m, m.tunf.as_ref())?)).collect()
    }
}

fn object(tunf: &TunfileEntry) -> String {
    format!("file {} (TUN/TAP device {})", tunf.id, tunf.netdev.as_deref().unwrap_or("without a name"))
}

fn open(tunf: &TunfileEntry) -> Result<OwnedFd> {
    let failed = |call: &str, e: std::io::Error| Error::os(Phase::Files, object(tunf), call, e);
    let path = tunf.path.as_deref().unwrap_or(USUAL_PATH.as_bytes());
    let flags = OFlags::from_bits_retain(tunf.flags()) & (OFlags::ACCMODE | OFlags::NONBLOCK);
    let fd = openat(CWD, path, flags | OFlags::CLOEXEC, Mode::empty()).map_err(|e| failed("open", e.into()))?;
    let stat = fstat(&fd).map_err(|e| failed("fstat", e.into()))?;
    if stat.st_mode & libc::S_IFMT != libc::S_IFCHR || (major(stat.st_rdev), minor(stat.st_rdev)) != NUMBER {
        return Err(Error::new(Phase::Files, object(tunf), format!("{} is another file now", shown(path))));
    }
    let Some(name) = tunf.netdev.clone() else { return Ok(fd) };
    // Where it is not there a new one would be made.
    let socket = socket_with(AddressFamily::INET, SocketType::DGRAM, SocketFlags::CLOEXEC, None);
    let there = socket.and_then(|socket| name_to_index(&socket, &name));
    there.map_err(|e| failed("ioctl SIOCGIFINDEX", e.into()).hint("make the device first (ip tuntap add)"))?;
    attach(fd.as_fd(), &Device { name, flags: tunf.device_flags() }).map_err(|e| {
        let hint = match e.raw_os_error() {
            Some(libc::EBUSY) => "another process is behind the device: end it first",
            Some(libc::EINVAL) => "the device is of another kind now: make it as it was",
            _ => "",
        };
        failed("ioctl TUNSETIFF", e).hint(hint)
    })?;
    Ok(fd)
}
