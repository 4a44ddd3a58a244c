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

/// Where the critical sections are described that the threads of a process are in, or have been in last; 0: nowhere. In the order
/// of their registrations, a few hundred of which are looked up by one call.
///
/// # Errors
/// An area cannot be read.
pub fn sections<'a>(pid: i32, areas: impl Iterator<Item = Option<&'a RseqEntry>>) -> io::Result<Vec<u64>> {
    /// Fewer than a call takes (IOV_MAX).
    const AT_ONCE: usize = 512;
    let areas: Vec<Option<u64>> = areas.map(|a| Some(a?.rseq_abi_pointer)).collect();
    let mut found = Vec::with_capacity(areas.len());
    for some in areas.chunks(AT_ONCE) {
        // struct rseq: cpu_id_start, cpu_id, then rseq_cs.
        let place = |area: &u64| RemoteRange { start: area.wrapping_add(8), len: 8 };
        let ranges: Vec<RemoteRange> = some.iter().flatten().map(place).collect();
        let mut bytes = vec![0; 8 * ranges.len()];
        if !ranges.is_empty() && process_vm_readv(pid, &ranges, &mut bytes)? != bytes.len() {
            return Err(io::Error::from_raw_os_error(libc::EFAULT));
        }
        let mut words = bytes.as_chunks::<8>().0.iter().map(|w| u64::from_le_bytes(*w));
        found.extend(some.iter().map(|area| area.and_then(|_| words.next()).unwrap_or(0)));
    }
    Ok(found)
}

/// Where a thread that was stopped at `ip` has to go on: at the abort handler when `ip` is inside of its critical section, as the
/// kernel itself would send it there.
///
/// # Errors
/// The section's descriptor cannot be read.
pub fn resume_at(pid: i32, section: u64, ip: u64) -> io::Result<u64> {
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
        let none = [0u64; 2];
        let entry = |area: &[u64; 2]| RseqEntry { rseq_abi_pointer: &raw const *area as u64, ..RseqEntry::default() };
        let (inside, outside) = (entry(&area), entry(&none));
        let me = std::process::id() as i32;
        let many = [None, Some(&inside), Some(&outside)].into_iter().cycle().take(2000);
        let found = sections(me, many).unwrap();
        let place = &raw const section as u64;
        assert!(found.iter().zip([0, place, 0].iter().cycle()).all(|(found, expected)| found == expected));
        assert_eq!(found.len(), 2000);
        for (ip, expected) in [(0x1000, 0x5000), (0x101f, 0x5000), (0x1020, 0x1020), (0xfff, 0xfff)] {
            assert_eq!(resume_at(me, place, ip).unwrap(), expected, "{ip:#x}");
        }
        assert_eq!(resume_at(me, 0, 0x1000).unwrap(), 0x1000);
        let nowhere = RseqEntry { rseq_abi_pointer: 8, ..RseqEntry::default() };
        assert!(sections(me, [Some(&nowhere)].into_iter()).is_err());
    }
}
