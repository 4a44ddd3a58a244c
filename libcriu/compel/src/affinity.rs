//! Engine and task on one CPU while they talk: a wake-up there costs a tenth of one that crosses CPUs.

use std::cell::RefCell;
use std::io;
use std::marker::PhantomData;

/// As sched_setaffinity takes it: one bit per CPU, whole 64-bit words.
pub(crate) type CpuMask = Vec<u8>;

/// More than any kernel supports.
const MASK_MAX_BYTES: usize = 1024;

/// The CPUs that the thread may use; 0 = the caller.
pub(crate) fn affinity(tid: i32) -> io::Result<CpuMask> {
    let mut mask = vec![0_u8; MASK_MAX_BYTES];
    // SAFETY: the buffer has the length that is passed.
    let got = unsafe { libc::syscall(libc::SYS_sched_getaffinity, tid, mask.len(), mask.as_mut_ptr()) };
    if got < 0 {
        return Err(io::Error::last_os_error());
    }
    mask.truncate(got as usize);
    Ok(mask)
}

pub(crate) fn set_affinity(tid: i32, mask: &[u8]) -> io::Result<()> {
    // SAFETY: the buffer has the length that is passed.
    let ret = unsafe { libc::syscall(libc::SYS_sched_setaffinity, tid, mask.len(), mask.as_ptr()) };
    if ret < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

fn only(cpu: usize, bytes: usize) -> Option<CpuMask> {
    let mut mask = vec![0; bytes];
    *mask.get_mut(cpu / 8)? |= 1 << (cpu % 8);
    Some(mask)
}

/// The calling thread kept on the CPU where it is, until the last of its pins is dropped.
#[derive(Debug)]
pub struct Pin {
    /// This CPU alone.
    pub(crate) cpu: CpuMask,
    not_send: PhantomData<*const ()>,
}

struct Pinned {
    pins: usize,
    before: CpuMask,
    cpu: CpuMask,
}

thread_local! {
    static PINNED: RefCell<Option<Pinned>> = const { RefCell::new(None) };
}

impl Pin {
    /// `None` when it cannot be: it is a matter of speed only.
    pub fn here() -> Option<Pin> {
        PINNED.with_borrow_mut(|pinned| {
            let pinned = match pinned {
                Some(pinned) => pinned,
                none => none.insert(Pinned::here()?),
            };
            pinned.pins += 1;
            Some(Pin { cpu: pinned.cpu.clone(), not_send: PhantomData })
        })
    }
}

impl Pinned {
    fn here() -> Option<Pinned> {
        // SAFETY: the call has no arguments.
        let cpu = usize::try_from(unsafe { libc::sched_getcpu() }).ok()?;
        let before = affinity(0).ok()?;
        let cpu = only(cpu, before.len())?;
        set_affinity(0, &cpu).ok()?;
        Some(Pinned { pins: 0, before, cpu })
    }
}

impl Drop for Pin {
    fn drop(&mut self) {
        let last = PINNED.with_borrow_mut(|pinned| {
            let left = pinned.as_mut()?;
            left.pins -= 1;
            if left.pins == 0 { pinned.take() } else { None }
        });
        if let Some(Err(e)) = last.map(|pinned| set_affinity(0, &pinned.before)) {
            log::warn!("CPU affinity of the engine cannot be put back: {e}");
        }
    }
}

/// The mask that puts the thread's affinity back to `now`. The kernel keeps what was asked for apart from what the cpuset allows:
/// for a thread that may use its whole cpuset, all CPUs are asked for, so that it follows later changes of the cpuset.
/// Changes the affinity on the way.
pub(crate) fn mask_to_restore(tid: i32, now: &CpuMask) -> CpuMask {
    let all = vec![0xff; now.len()];
    if set_affinity(tid, &all).is_ok() && affinity(tid).is_ok_and(|got| got == *now) { all } else { now.clone() }
}
