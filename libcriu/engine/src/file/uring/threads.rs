//! What the threads of a process have to do with io_uring.

use std::io;
use std::os::fd::BorrowedFd;

use crate::sys::kernel::{Address, Kernel};

/// No process has more.
const MOST_THREADS: usize = 1 << 22;

/// A thread that has used an instance.
#[derive(Debug)]
pub(crate) struct Thread {
    pub tid: i32,
    /// Its `struct task_struct`.
    pub task: Address,
    /// The one that was asked for.
    pub is_first: bool,
    /// The instances (`struct file`) that it has registered (IORING_REGISTER_RING_FDS), and at which places.
    pub registered: Vec<(usize, Address)>,
    /// Requests that it has given to whichever instances, and that are not complete.
    pub in_flight: i64,
    /// Its workers run on other CPUs than it may itself.
    workers_apart: bool,
}

/// Those of a process: `pidfd` is its, or that of its first living thread.
///
/// # Errors
/// Those of reading the kernel's memory.
pub(crate) fn of(pidfd: BorrowedFd<'_>) -> io::Result<Vec<Thread>> {
    let kernel = &*Kernel::open()?;
    let first = kernel.task_of(pidfd)?;
    let signal = kernel.number(first, "task_struct", "signal")?;
    let head = kernel.place(signal, "signal_struct", "thread_head")?;
    let distance = kernel.layouts.member("task_struct", "thread_node")?.offset as u64;
    let mut threads = Vec::new();
    let mut node = kernel.number(head, "list_head", "next")?;
    for _ in 0..MOST_THREADS {
        if node == head {
            return Ok(threads);
        }
        let task = node.wrapping_sub(distance);
        let own = kernel.number(task, "task_struct", "io_uring")?;
        if own != 0 {
            threads.push(thread(kernel, task, own, task == first)?);
        }
        node = kernel.number(node, "list_head", "next")?;
    }
    Err(io::ErrorKind::InvalidData.into())
}

fn thread(kernel: &Kernel, task: Address, own: Address, is_first: bool) -> io::Result<Thread> {
    const OWN: &str = "io_uring_task";
    let member = kernel.layouts.member(OWN, "registered_rings")?;
    let mut files = vec![0; member.bytes];
    kernel.read(own.wrapping_add(member.offset as u64), &mut files)?;
    let files = files.as_chunks::<8>().0.iter().map(|file| u64::from_le_bytes(*file));
    let unused = kernel.number(own, OWN, "cached_refs")? as i32;
    Ok(Thread {
        tid: kernel.number(task, "task_struct", "pid")? as i32,
        task,
        is_first,
        registered: files.enumerate().filter(|(_, file)| *file != 0).collect(),
        in_flight: kernel.counter(kernel.place(own, OWN, "inflight")?)? - i64::from(unused),
        workers_apart: workers_apart(kernel, task, own)?,
    })
}

/// Were its workers kept from CPUs that it may run on itself?
fn workers_apart(kernel: &Kernel, task: Address, own: Address) -> io::Result<bool> {
    let bytes = kernel.layouts.bytes("cpumask")?;
    let mask = |at: Address| {
        let mut mask = vec![0; bytes];
        kernel.read(at, &mut mask).map(|()| mask)
    };
    let workers = kernel.number(own, "io_uring_task", "io_wq")?;
    if workers == 0 {
        return Ok(false);
    }
    // Kernels for very many CPUs have it elsewhere.
    let is_pointer = kernel.layouts.member("io_wq", "cpu_mask")?.bytes != bytes;
    let at = if is_pointer {
        kernel.number(workers, "io_wq", "cpu_mask")?
    } else {
        kernel.place(workers, "io_wq", "cpu_mask")?
    };
    let own = mask(kernel.place(task, "task_struct", "cpus_mask")?)?;
    Ok(own.iter().zip(mask(at)?).any(|(own, workers)| own & !workers != 0))
}

impl Thread {
    /// What cannot be saved, whichever instances it has used, and what helps. `is_known`: has its process a descriptor of the
    /// instance?
    pub(super) fn refusal(&self, is_known: impl Fn(Address) -> bool) -> Option<(String, &'static str)> {
        const UNREGISTER: &str = "unregister it (IORING_UNREGISTER_RING_FDS) before the dump";
        if self.in_flight > 0 {
            let cause = format!("{} requests that it has given to io_uring are in flight", self.in_flight);
            return Some((cause, "dump again when they are complete"));
        }
        if self.workers_apart {
            let cause = "its workers of io_uring are bound to CPUs (IORING_REGISTER_IOWQ_AFF)".into();
            return Some((cause, "have that undone (IORING_UNREGISTER_IOWQ_AFF) before the dump"));
        }
        if self.registered.iter().any(|(_, file)| !is_known(*file)) {
            let cause = "it has registered an io_uring instance without a descriptor (IORING_REGISTER_RING_FDS)".into();
            return Some((cause, UNREGISTER));
        }
        let has_own = !self.is_first && !self.registered.is_empty();
        has_own.then(|| {
            let cause =
                "it, which is not the main thread, has registered an io_uring instance (IORING_REGISTER_RING_FDS)";
            (cause.into(), UNREGISTER)
        })
    }
}
