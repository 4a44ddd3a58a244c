//! Reads contexts in the kernel's memory, and waits until their requests are done.

use std::collections::HashMap;
use std::io;
use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use criu_images::messages::AioRingEntry;

use super::{HEAD_BYTES, Head};
use crate::proc::Area;
use crate::sys::kernel::{Address, Kernel};
use crate::sys::memory::{RemoteRange, process_vm_readv};

/// How long requests may take to complete while their task stands still.
const PATIENCE: Duration = Duration::from_secs(2);
const LOOK_AGAIN: Duration = Duration::from_millis(1);
/// More contexts than any process has.
const MOST_CONTEXTS: u64 = 1 << 16;

/// Why a ring cannot be saved, and what would help.
pub type Refusal = (String, &'static str);

/// A context as the kernel has it.
#[derive(Clone, Copy, Debug)]
struct Context {
    at: Address,
    ring: u64,
    ring_bytes: u64,
    max_requests: u32,
    tail: u32,
    in_flight: u64,
}

/// The contexts of one task, or why they cannot be told.
#[derive(Debug)]
pub struct Contexts(Result<Vec<Context>, String>);

/// Those of all tasks that have rings, by pid, when their requests have had time to complete. `tasks`: pids and pidfds.
pub fn settled(tasks: &[(i32, BorrowedFd<'_>)]) -> HashMap<i32, Contexts> {
    if tasks.is_empty() {
        return HashMap::new();
    }
    let kernel = Kernel::open().map_err(|e| e.to_string());
    let until = Instant::now() + PATIENCE;
    let of =
        |pidfd| kernel.as_ref().map_err(Clone::clone).and_then(|k| wait(k, pidfd, until).map_err(|e| e.to_string()));
    tasks.iter().map(|&(pid, pidfd)| (pid, Contexts(of(pidfd)))).collect()
}

fn wait(kernel: &Kernel, pidfd: BorrowedFd<'_>, until: Instant) -> io::Result<Vec<Context>> {
    let mut contexts = read(kernel, pidfd)?;
    for context in &mut contexts {
        while context.in_flight > 0 && Instant::now() < until {
            std::thread::sleep(LOOK_AGAIN);
            context.in_flight = in_flight(kernel, context.at)?;
        }
        // What has completed meanwhile has moved it.
        context.tail = kernel.number(context.at, "kioctx", "tail")? as u32;
    }
    Ok(contexts)
}

fn read(k: &Kernel, pidfd: BorrowedFd<'_>) -> io::Result<Vec<Context>> {
    let mm = k.number(k.task_of(pidfd)?, "task_struct", "mm")?;
    let table = k.number(mm, "mm_struct", "ioctx_table")?;
    if table == 0 {
        return Ok(Vec::new());
    }
    let places = k.number(table, "kioctx_table", "nr")?.min(MOST_CONTEXTS) as usize;
    let mut pointers = vec![0; 8 * places];
    k.read(k.place(table, "kioctx_table", "table")?, &mut pointers)?;
    let all = pointers.as_chunks::<8>().0.iter().map(|p| u64::from_le_bytes(*p));
    all.filter(|at| *at != 0).map(|at| context(k, at)).collect()
}

fn context(k: &Kernel, at: Address) -> io::Result<Context> {
    let number = |member| k.number(at, "kioctx", member);
    Ok(Context {
        at,
        ring: number("user_id")?,
        ring_bytes: number("mmap_size")?,
        max_requests: number("max_reqs")? as u32,
        tail: number("tail")? as u32,
        in_flight: in_flight(k, at)?,
    })
}

/// As long as it lasts, a context is referred to by itself and by those who use it.
const IDLE_REFERENCES: u64 = 2;

/// Each request refers to its context until it is complete.
fn in_flight(k: &Kernel, at: Address) -> io::Result<u64> {
    Ok(k.references(k.place(at, "kioctx", "reqs")?)?.saturating_sub(IDLE_REFERENCES))
}

impl Contexts {
    /// The entry of the ring that a task has mapped at `area`.
    ///
    /// # Errors
    /// Why it cannot be saved.
    pub fn entry(&self, pid: i32, area: &Area) -> Result<AioRingEntry, Refusal> {
        let contexts = self.0.as_ref().map_err(|why| {
            let cause =
                format!("only the kernel's memory tells whether its requests are done, and cannot be read: {why}");
            (cause, "that takes CAP_BPF and CAP_PERFMON, or CAP_SYS_ADMIN, and Linux 5.19 with BTF")
        })?;
        let len = area.end - area.start;
        let of_area = contexts.iter().find(|c| (c.ring, c.ring_bytes, area.offset) == (area.start, len, 0));
        let Some(context) = of_area else {
            let is_part = |c: &Context| c.ring < area.end && area.start < c.ring + c.ring_bytes;
            return Err(if contexts.iter().any(is_part) {
                let cause = "a ring of asynchronous I/O (aio) that was cut to pieces cannot be saved";
                (cause.into(), "end its context (io_destroy) before the dump")
            } else {
                let cause = "a view of another process's aio ring, inherited by fork, cannot be saved";
                (cause.into(), "unmap it, or keep it from children by madvise MADV_DONTFORK")
            });
        };
        if context.in_flight > 0 {
            let (n, s) = (context.in_flight, PATIENCE.as_secs());
            let cause = format!("{n} aio requests are in flight (io_submit) and have not completed within {s} s");
            return Err((cause, "dump again when they are done, or end what they wait for"));
        }
        let mut bytes = [0; HEAD_BYTES as usize];
        let range = RemoteRange { start: area.start, len: bytes.len() };
        let head = process_vm_readv(pid, &[range], &mut bytes).ok().and_then(|_| Head::of(&bytes));
        match head {
            Some(head) if head.is_sound(len) && head.tail == context.tail => {
                Ok(AioRingEntry { id: area.start, nr_req: context.max_requests, ring_len: len as u32 })
            }
            _ => Err((
                "an aio ring whose head is not the kernel's cannot be saved".into(),
                "end its context before the dump",
            )),
        }
    }
}
