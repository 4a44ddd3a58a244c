//! An instance as the kernel has it, compared with a new one.

use std::io;
use std::os::fd::BorrowedFd;

use crate::sys::kernel::{Address, Kernel};

const CONTEXT: &str = "io_ring_ctx";

/// Members that may be other than in a new one: they are kept, looked at by themselves, or mean nothing while nothing is in
/// flight. Pointers to what belongs to the instance, memory that waits to be used again, who is told of events.
const OTHER: &[&str] = &[
    "refs",
    "nr_req_allocated",
    "submitter_task",
    "rings",
    "rings_rcu",
    "sq_array",
    "sq_sqes",
    "cached_sq_head",
    "cached_cq_tail",
    "cqe_cached",
    "cqe_sentinel",
    "cancel_seq",
    "iopoll_list.last",
    "node_cache",
    "imu_cache",
    "apoll_cache",
    "netmsg_cache",
    "rw_cache",
    "uring_cache",
    "cmd_cache",
    "futex_cache",
    "submit_state.free_list",
    "submit_state.compl_reqs.last",
    "submit_state.link",
    "submit_state.plug_started",
    "submit_state.need_plug",
    "submit_state.cq_flush",
    "submit_state.submit_nr",
    "submit_state.plug",
    "cancel_table.hbs",
    "file_table",
    "file_alloc_start",
    "file_alloc_end",
    "buf_table",
    "io_ev_fd",
    "cq_timeouts",
    "cq_last_tm_flush",
    "poll_wq",
    "poll_wq_task_work",
    "hash_map",
    "user",
    "mm_account",
    "fallback_work",
    "exit_work",
    "tctx_list",
    "sq_region.pages",
    "sq_region.ptr",
    "ring_region.pages",
    "ring_region.ptr",
];

/// Bits of the same kind.
const OTHER_BITS: &[&str] = &["off_timeout_used", "drain_active", "drain_disabled", "poll_activated", "has_evfd"];

/// What it means when a member is not as in a new one.
const MEANINGS: &[(&str, &str)] = &[
    ("io_bl_", "that has provided buffers (IORING_REGISTER_PBUF_RING, IORING_OP_PROVIDE_BUFFERS)"),
    ("pers", "that has or has had personalities (IORING_REGISTER_PERSONALITY)"),
    ("restrict", "that is restricted (IORING_REGISTER_RESTRICTIONS)"),
    ("napi", "that polls devices (IORING_REGISTER_NAPI)"),
    ("clock", "that waits by another clock (IORING_REGISTER_CLOCK)"),
    ("cq_wait_", "that has a region of memory for waiting (IORING_REGISTER_MEM_REGION)"),
    ("param_region", "that has a region of memory for waiting (IORING_REGISTER_MEM_REGION)"),
    ("zcrx", "that receives without copies (IORING_REGISTER_ZCRX_IFQ)"),
    ("iowq_limits", "whose workers are limited (IORING_REGISTER_IOWQ_MAX_WORKERS)"),
    ("sq_entries", "whose rings were resized (IORING_REGISTER_RESIZE_RINGS)"),
    ("cq_entries", "whose rings were resized (IORING_REGISTER_RESIZE_RINGS)"),
    ("compat", "of 32-bit calls"),
    ("work_llist", "with completions that wait for their thread (IORING_SETUP_DEFER_TASKRUN)"),
    ("retry_llist", "with completions that wait for their thread (IORING_SETUP_DEFER_TASKRUN)"),
    ("cq_overflow_list", "whose completions have overflown"),
    ("check_cq", "whose completions have overflown, or were lost"),
    ("defer_list", "with requests that wait for others (IOSQE_IO_DRAIN)"),
];

/// What most of the time are far fewer: requests whose memory waits to be used again.
const MOST_REQUESTS: u64 = 1 << 18;

/// The record of an instance.
#[derive(Debug)]
pub(super) struct Record<'a> {
    pub kernel: &'a Kernel,
    at: Address,
    bytes: Vec<u8>,
}

impl<'a> Record<'a> {
    /// Of an open instance.
    pub(super) fn of(kernel: &'a Kernel, fd: BorrowedFd<'_>) -> io::Result<Self> {
        let file = kernel.file(fd)?;
        let at = kernel.number(file, "file", "private_data")?;
        let mut bytes = vec![0; kernel.layouts.bytes(CONTEXT)?];
        kernel.read(at, &mut bytes)?;
        Ok(Record { kernel, at, bytes })
    }

    pub(super) fn number(&self, path: &str) -> io::Result<u64> {
        let member = self.kernel.layouts.member(CONTEXT, path)?;
        Ok(member.of(&self.bytes) >> member.bit)
    }

    pub(super) fn bit(&self, name: &str) -> io::Result<bool> {
        Ok(self.number(name)? & 1 != 0)
    }

    /// How many requests are in flight, wherever they are: each refers to the instance, and so do those whose memory waits to be
    /// used again.
    pub(super) fn in_flight(&self) -> io::Result<u64> {
        let kernel = self.kernel;
        let references = kernel.references(kernel.place(self.at, CONTEXT, "refs")?)?;
        let (mut free, mut node) = (0, self.number("submit_state.free_list.next")?);
        while node != 0 {
            free += 1;
            if free > MOST_REQUESTS {
                return Err(io::ErrorKind::OutOfMemory.into());
            }
            node = kernel.number(node, "io_wq_work_node", "next")?;
        }
        let in_flight = references.saturating_sub(1 + free);
        // The kernel may count those that it has made as well.
        let made = self.number("nr_req_allocated").unwrap_or(free);
        Ok(in_flight.max(made.saturating_sub(free)))
    }

    /// The threads that have used it and are there still: `struct task_struct`, and numbers.
    pub(super) fn users(&self) -> io::Result<Vec<(Address, i32)>> {
        let kernel = self.kernel;
        let head = kernel.place(self.at, CONTEXT, "tctx_list")?;
        let distance = kernel.layouts.member("io_tctx_node", "ctx_node")?.offset as u64;
        let mut users = Vec::new();
        let mut node = kernel.number(head, "list_head", "next")?;
        while node != head {
            let task = kernel.number(node.wrapping_sub(distance), "io_tctx_node", "task")?;
            users.push((task, kernel.number(task, "task_struct", "pid")? as i32));
            if users.len() as u64 > MOST_REQUESTS {
                return Err(io::ErrorKind::InvalidData.into());
            }
            node = kernel.number(node, "list_head", "next")?;
        }
        Ok(users)
    }

    /// What differs from a new one that was made in the same way; `None`: nothing.
    pub(super) fn difference(&self, new: &Record<'_>) -> io::Result<Option<String>> {
        let layouts = self.kernel.layouts;
        let mut counts = vec![u8::MAX; self.bytes.len()];
        for member in OTHER.iter().filter_map(|path| layouts.member(CONTEXT, path).ok()) {
            counts.iter_mut().skip(member.offset).take(member.bytes).for_each(|mask| *mask = 0);
        }
        for bit in OTHER_BITS.iter().filter_map(|name| layouts.member(CONTEXT, name).ok()) {
            if let Some(mask) = counts.get_mut(bit.offset + usize::from(bit.bit / 8)) {
                *mask &= !(1 << (bit.bit % 8));
            }
        }
        let (own, news) = (self.without_places(), new.without_places());
        let differs = |at: &usize| (own.get(*at).zip(news.get(*at))).is_none_or(|(a, b)| (a ^ b) & counts[*at] != 0);
        let Some(at) = (0..counts.len()).find(differs) else { return Ok(None) };
        let bit = own.get(at).zip(news.get(at)).map_or(0, |(a, b)| ((a ^ b) & counts[at]).trailing_zeros());
        let name = layouts.name_at(CONTEXT, 8 * at + bit as usize).unwrap_or_else(|| format!("byte {at}"));
        let meaning = MEANINGS.iter().find(|(member, _)| name.starts_with(member)).map(|(_, meaning)| *meaning);
        Ok(Some(meaning.map_or_else(|| format!("that is not as a new one in \"{name}\""), str::to_owned)))
    }

    /// The record, in which what points into itself tells how far.
    fn without_places(&self) -> Vec<u8> {
        let within = self.at..self.at + self.bytes.len() as u64;
        let words = self.bytes.as_chunks::<8>().0.iter().map(|word| u64::from_le_bytes(*word));
        let relative = words.map(|word| if within.contains(&word) { word - self.at } else { word });
        relative.flat_map(u64::to_le_bytes).collect()
    }
}
