//! Pressure stall information: what the reader of a file below /proc/pressure, or of a cgroup's, has asked to be woken for. No
//! call tells that; it is read in the kernel's memory.

use std::io;
use std::os::fd::AsFd;

use rustix::fs::fstatfs;
use rustix::io::write;

use crate::file::kind::Unsaved;
use crate::file::seen::Seen;
use crate::sys::kernel::Kernel;

const CGROUP2_MAGIC: rustix::fs::FsWord = 0x6367_7270;
const NS_PER_US: u64 = 1000;

/// What was written to it; `None` for other files, and where nothing was.
pub(super) fn asked(seen: &Seen<'_>) -> Result<Option<String>, Unsaved> {
    let writes = seen.info.flags & libc::O_ACCMODE as u32 != libc::O_RDONLY as u32;
    let of_system = seen.link.starts_with(b"/proc/pressure/");
    let is_cgroups = || fstatfs(&seen.dup).is_ok_and(|system| system.f_type == CGROUP2_MAGIC);
    if !writes || !(of_system || seen.link.ends_with(b".pressure") && is_cgroups()) {
        return Ok(None);
    }
    read(seen, of_system).map_err(|e| {
        Unsaved::because(format!("what it is to be woken for (pressure stall information) cannot be seen ({e})"))
            .hint("give the engine CAP_BPF and CAP_PERFMON, or close it before the dump")
    })
}

fn read(seen: &Seen<'_>, of_system: bool) -> io::Result<Option<String>> {
    let kernel = Kernel::open()?;
    let sequence = kernel.number(kernel.file(seen.dup.as_fd())?, "file", "private_data")?;
    let private = kernel.number(sequence, "seq_file", "private")?;
    let trigger = if of_system {
        private
    } else {
        let context = kernel.number(private, "kernfs_open_file", "priv")?;
        kernel.number(context, "cgroup_file_ctx", "psi.trigger")?
    };
    if trigger == 0 {
        return Ok(None);
    }
    let number = |path| kernel.number(trigger, "psi_trigger", path);
    // Every resource has two states, one after the other, but for interrupts, which stop all or nothing.
    let is_full = number("state")? % 2 == 1 || seen.link.ends_with(b"irq") || seen.link.ends_with(b"irq.pressure");
    let (threshold, window) = (number("threshold")? / NS_PER_US, number("win.size")? / NS_PER_US);
    Ok(Some(format!("{} {threshold} {window}", if is_full { "full" } else { "some" })))
}

/// Asks for the same again.
pub(super) fn ask(fd: impl AsFd, what: &str) -> rustix::io::Result<()> {
    // The kernel puts its end over the last byte.
    write(fd, format!("{what}\0").as_bytes()).map(drop)
}
