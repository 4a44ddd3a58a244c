//! Restartable sequences: the area that a thread registered, and a thread that was stopped inside of a critical section.

use std::io;

use criu_compel::ptrace;
use criu_images::messages::RseqEntry;

use crate::sys::memory::{RemoteRange, process_vm_readv};

/// The registration of a stopped thread; `None` when it has none.
///
/// # Errors
/// Those of ptrace(2).
pub fn entry(tid: i32) -> criu_compel::Result<Option<RseqEntry>> {
    let c = match ptrace::rseq(tid) {
        Ok(c) => c,
        // A kernel before 5.13 does not tell; one without rseq has none.
        Err(e) if matches!(e.errno(), libc::EIO | libc::EINVAL) => return Ok(None),
        Err(e) => return Err(e),
    };
    Ok((c.address != 0).then_some(RseqEntry {
        rseq_abi_pointer: c.address,
        rseq_abi_size: c.size_bytes,
        signature: c.signature,
        rseq_cs_pointer: None,
    }))
}

/// Where a thread that was stopped at `ip` has to go on: at the abort handler when `ip` is inside of its critical section, as the
/// kernel itself would send it there.
///
/// # Errors
/// The area or the section's descriptor cannot be read.
pub fn resume_at(pid: i32, area: &RseqEntry, ip: u64) -> io::Result<u64> {
    // struct rseq: cpu_id_start, cpu_id, then rseq_cs.
    let section = word(pid, area.rseq_abi_pointer + 8)?;
    if section == 0 {
        return Ok(ip);
    }
    // struct rseq_cs: version, flags, then start_ip, post_commit_offset, abort_ip.
    let start = word(pid, section + 8)?;
    let length = word(pid, section + 16)?;
    let abort = word(pid, section + 24)?;
    Ok(if ip.wrapping_sub(start) < length { abort } else { ip })
}

fn word(pid: i32, address: u64) -> io::Result<u64> {
    let mut bytes = [0; 8];
    match process_vm_readv(pid, &[RemoteRange { start: address, len: 8 }], &mut bytes)? {
        8 => Ok(u64::from_le_bytes(bytes)),
        _ => Err(io::Error::from_raw_os_error(libc::EFAULT)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inside_and_outside_of_a_section() {
        let section = [0u64, 0x1000, 0x20, 0x5000];
        let area = [0u64, &raw const section as u64];
        let entry = RseqEntry { rseq_abi_pointer: &raw const area as u64, ..RseqEntry::default() };
        let me = std::process::id() as i32;
        for (ip, expected) in [(0x1000, 0x5000), (0x101f, 0x5000), (0x1020, 0x1020), (0xfff, 0xfff)] {
            assert_eq!(resume_at(me, &entry, ip).unwrap(), expected, "{ip:#x}");
        }
        let none = [0u64; 2];
        let entry = RseqEntry { rseq_abi_pointer: &raw const none as u64, ..RseqEntry::default() };
        assert_eq!(resume_at(me, &entry, 0x1000).unwrap(), 0x1000);
    }
}
