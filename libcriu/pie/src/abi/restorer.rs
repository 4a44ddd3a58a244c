//! What the restorer and the engine say to each other.
//!
//! The engine lays out one region at an address that is free both before and after the restore: the program, these
//! arguments, one stack for each thread, and the control page shared with the coordinator. Tables are addresses inside
//! that region. Everything here is written by the engine in the very process that reads it.

use core::sync::atomic::{AtomicU32, AtomicU64};

/// Bytes of stack that each thread gets while it is in the restorer.
pub const THREAD_STACK_BYTES: u64 = 8192;

/// `count` values of one type that stand at `address`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Table {
    pub address: u64,
    pub count: u64,
}

/// An address range, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Range {
    pub start: u64,
    pub len: u64,
}

/// One mremap: `len` bytes from `from` to `to`, whatever is there goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Move {
    pub from: u64,
    pub to: u64,
    pub len: u64,
}

/// A mapping of an io_uring instance. Room for it is where it goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Uring {
    pub start: u64,
    pub len: u64,
    pub offset: u64,
    pub prot: u64,
    pub fd: i32,
    pub pad: u32,
    /// Bit n: madvise with advice n.
    pub advice: u64,
}

/// Buffers that an io_uring instance has registered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct UringBuffers {
    pub fd: i32,
    pub pad: u32,
    /// As for IORING_REGISTER_BUFFERS2: number and flags, reserved, `struct iovec`s, tags.
    pub all: [u64; 4],
}

/// Where nothing is.
#[derive(Debug, Default)]
#[repr(C)]
pub struct Gap {
    pub start: u64,
    pub len: u64,
    /// 1 as long as it is filled, so that the kernel does not choose it.
    pub is_filled: AtomicU64,
}

/// The kernel's `struct prctl_mm_map`.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub struct MmMap {
    pub start_code: u64,
    pub end_code: u64,
    pub start_data: u64,
    pub end_data: u64,
    pub start_brk: u64,
    pub brk: u64,
    pub start_stack: u64,
    pub arg_start: u64,
    pub arg_end: u64,
    pub env_start: u64,
    pub env_end: u64,
    pub auxv: u64,
    pub auxv_size: u32,
    pub exe_fd: i32,
}

/// The kernel's vDSO for i386 code, to be mapped when there is no other any more; nothing when `at` is 0.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub struct VdsoIa32 {
    /// Where its data begin, with its code behind.
    pub at: u64,
    pub code: u64,
    /// The code as the task knows it, as u64 each.
    pub expected: Table,
}

/// A signal's disposition, in the kernel's form.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct SignalAction {
    pub signo: u64,
    /// 1 when it is set by the i386 call, by which the kernel then calls the handler.
    pub is_ia32: u64,
    pub handler: u64,
    pub flags: u64,
    pub restorer: u64,
    pub mask: u64,
}

/// The kernel's `siginfo_t`.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(8))]
pub struct SigInfo(pub [u8; 128]);

/// An interval timer: `which` as for setitimer, then the kernel's `struct itimerval`.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub struct IntervalTimer {
    pub which: u64,
    pub interval_s: u64,
    pub interval_us: u64,
    pub value_s: u64,
    pub value_us: u64,
}

/// A POSIX timer.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub struct PosixTimer {
    pub id: u32,
    pub clock: i32,
    pub signo: i32,
    pub notify: i32,
    /// 0 when the signal goes to the process.
    pub notify_tid: i32,
    /// How often it had run over when its last signal was taken; where it is not 0, `signo` can be blocked.
    pub overrun: i32,
    /// 1 when the signal of it that is pending comes from letting it ring.
    pub rings: i32,
    pub pad: i32,
    pub value: u64,
    pub interval_s: u64,
    pub interval_ns: u64,
    pub value_s: u64,
    pub value_ns: u64,
}

/// A system call whose arguments are numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Call {
    pub nr: i64,
    pub args: [u64; 3],
}

/// A resource limit.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub struct Limit {
    pub resource: u64,
    pub current: u64,
    pub maximum: u64,
}

/// A seccomp filter: `flags` are SECCOMP_FILTER_FLAG_* without TSYNC; `instructions` a table of 8-byte BPF instructions.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub struct Filter {
    pub flags: u64,
    pub instructions: Table,
}

/// Credentials of one thread. Capability words are low, high.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Creds {
    pub uids: [u32; 3],
    pub fsuid: u32,
    pub gids: [u32; 3],
    pub fsgid: u32,
    pub inheritable: [u32; 2],
    pub permitted: [u32; 2],
    pub effective: [u32; 2],
    pub bounding: [u32; 2],
    pub ambient: [u32; 2],
    pub securebits: u32,
    pub last_cap: u32,
    /// u32 each.
    pub groups: Table,
}

/// Bits of [`Thread::present`].
pub const HAS_RSEQ: u32 = 1;
/// The thread calls sched_setattr.
pub const HAS_SCHED: u32 = 2;
/// The thread has an alternate signal stack or none; either is set.
pub const HAS_SAS: u32 = 4;
/// The thread sets its credentials; else it has them already.
pub const HAS_CREDS: u32 = 8;
/// The thread sets its name; else it has it from the leader.
pub const HAS_COMM: u32 = 16;
/// The thread has nothing to do once it is traced.
pub const IS_FINISHED: u32 = 32;
/// The thread's list of robust futexes is one of the i386 call.
pub const IS_IA32: u32 = 64;

/// What one thread sets for itself.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Thread {
    pub tid: i32,
    pub present: u32,
    pub stack_top: u64,
    pub clear_tid: u64,
    pub robust_list: u64,
    pub robust_len: u64,
    /// ss_sp, ss_flags, ss_size: the kernel's `stack_t`.
    pub sas: [u64; 3],
    pub rseq: u64,
    pub rseq_size: u32,
    pub rseq_signature: u32,
    pub rseq_cs: u64,
    pub comm: [u8; 16],
    pub sched_policy: u32,
    pub sched_nice: i32,
    pub sched_priority: u32,
    /// The slice of time under a fair policy; 0 for that of everyone.
    pub sched_slice_ns: u64,
    pub pdeath_signal: u32,
    pub timer_slack_ns: u64,
    /// u64 each: words of the CPU mask; none to leave it.
    pub affinity: Table,
    /// As for ioprio_set; 0 to leave it.
    pub ioprio: u32,
    /// SCHED_FLAG_RESET_ON_FORK or 0.
    pub sched_flags: u32,
    pub no_new_privs: u32,
    /// [`Call`] each: settings of the processor and of memory errors for this thread.
    pub settings: Table,
    /// 0 none, 1 strict, 2 filter.
    pub seccomp_mode: u32,
    /// u32 each: indices into [`Args::filters`], in the order of installation, without the common prefix and without what the
    /// thread is created with.
    pub chain: Table,
    /// 1 when the thread is created late, by the thread `creator`, which has installed `creator_filters` filters of its own
    /// chain by then: so both have the very same filters.
    pub is_late: u32,
    pub creator: u32,
    pub creator_filters: u32,
    /// [`SigInfo`] each: pending for this thread.
    pub pending: Table,
    pub creds: Creds,
}

/// Bytes of a file that go to memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Load {
    pub address: u64,
    pub len: u64,
    /// Where they stand in the file.
    pub offset: u64,
}

/// Pages that take the place of others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Pages {
    /// [`Range`] each: those that go, at first.
    pub discard: Table,
    /// The name of a pages image, with a zero at its end.
    pub image: Table,
    /// [`Load`] each: from the image.
    pub loads: Table,
}

/// A child that is nearly what its parent is: it is forked by the parent's restorer, inherits all that it does not have of its
/// own, and goes on with arguments of its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Twin {
    /// Address of its [`Args`], whose `unmap` is what it has not of its parent's memory, and `actions` those that differ.
    pub args: u64,
    pub pid: i32,
    /// 1 when the layout of its address space is another than its parent's.
    pub has_layout: u32,
    /// Address of a word in the control pages: 1 once it exists.
    pub born: u64,
    /// [`Range`] each: anonymous memory, readable and writable, that its parent has not.
    pub rooms: Table,
    pub pages: Pages,
}

/// What the restorer is called with.
#[derive(Debug)]
#[repr(C)]
pub struct Args {
    /// Address of the [`Control`] page.
    pub control: u64,
    /// This task's place in the coordinator's tables, for error reports.
    pub task: u32,
    /// Threads that have finished the current stage.
    pub arrived: AtomicU32,
    /// How many threads beside the leader have something to do once they are traced.
    pub unfinished: u32,
    /// 1 once the filters that all threads share are installed.
    pub prefix_done: AtomicU32,
    /// How many threads are created late, and how many of them exist.
    pub late: u32,
    pub late_born: AtomicU32,
    /// 1 once all POSIX timers are created.
    pub timers_made: AtomicU32,
    /// How many of those that run over by another thread's doing than the leader's have done so.
    pub timers_overrun: AtomicU32,
    pub pid: i32,
    /// [`Range`] each: everything that is not to stay.
    pub unmap: Table,
    /// [`Move`] each, in order.
    pub moves: Table,
    /// [`Uring`] each, and [`Gap`] each: all of the address space that is not to hold anything.
    pub urings: Table,
    pub gaps: Table,
    /// [`UringBuffers`] each.
    pub uring_buffers: Table,
    pub mm_map: MmMap,
    pub vdso_ia32: VdsoIa32,
    /// i32 each: descriptors to close.
    pub close: Table,
    /// [`Thread`] each, the leader first.
    pub threads: Table,
    /// [`SignalAction`] each.
    pub actions: Table,
    /// [`IntervalTimer`] each.
    pub itimers: Table,
    /// [`PosixTimer`] each, ids ascending.
    pub timers: Table,
    /// [`SigInfo`] each: pending for the process.
    pub pending: Table,
    /// [`Limit`] each.
    pub limits: Table,
    /// [`Filter`] each.
    pub filters: Table,
    /// u32 each: filters that the leader installs for all threads at once (TSYNC).
    pub prefix: Table,
    /// The rseq area of the process that becomes the task: address, size, signature; 0 when it has none.
    pub old_rseq: u64,
    pub old_rseq_size: u32,
    pub old_rseq_signature: u32,
    pub personality: u32,
    pub dumpable: u32,
    /// As for mlockall, or 0.
    pub mlock_future: u32,
    /// The images directory, for twins; -1 when there are none.
    pub images: i32,
    /// [`Twin`] each.
    pub twins: Table,
    /// What the twins have in common and their parent has not, and how the parent gets its own again.
    pub common: Pages,
    pub own: Pages,
}

/// Values of [`Control::go`].
pub const GO_WAIT: u32 = 0;
/// Every thread is traced: credentials, filters and signals may be put in place.
pub const GO_FINISH: u32 = 1;

/// The longest text of a failure.
pub const FAILURE_TEXT_BYTES: usize = 2048;

/// The page (or pages) that the coordinator shares with every task. Futexes on it are not private.
#[derive(Debug)]
#[repr(C)]
pub struct Control {
    /// What tasks may do now: GO_*.
    pub go: AtomicU32,
    /// Bumped, with a wake-up, whenever the coordinator should look.
    pub bell: AtomicU32,
    /// Tasks whose threads have all been created and wait for GO_FINISH.
    pub ready: AtomicU32,
    /// Tasks whose threads have finished.
    pub done: AtomicU32,
    /// How many of `ready` and `done` make it complete.
    pub expected: AtomicU32,
    /// 0 none, 1 being written, 2 written.
    pub failed: AtomicU32,
    pub failure: Failure,
}

/// What a task says when it cannot go on.
#[derive(Debug)]
#[repr(C)]
pub struct Failure {
    pub pid: AtomicU32,
    pub tid: AtomicU32,
    /// [`Step`] in the restorer; 0 when `text` tells it all.
    pub step: AtomicU32,
    pub errno: AtomicU32,
    /// An address or number that goes with it.
    pub detail: AtomicU64,
    /// Used by tasks that are still ordinary processes.
    pub text_len: AtomicU32,
    pub text: [core::sync::atomic::AtomicU8; FAILURE_TEXT_BYTES],
}

macro_rules! steps {
    ($($name:ident = $value:literal $text:literal,)*) => {
        /// What the restorer was doing; the text completes "cannot ...".
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u32)]
        pub enum Step { $($name = $value,)* }

        impl Step {
            /// The step of this number, in words.
            pub fn text(number: u32) -> &'static str {
                match number {
                    $($value => $text,)*
                    _ => "restore",
                }
            }
        }
    };
}

steps! {
    Rseq = 1 "register the restartable sequences area",
    Unmap = 2 "unmap the old address space",
    Move = 3 "move a mapping into place",
    MmMap = 4 "set the layout of the address space (prctl PR_SET_MM_MAP)",
    Close = 5 "close a descriptor",
    Personality = 6 "set the personality",
    Clone = 7 "create a thread",
    Action = 8 "set a signal action",
    Comm = 9 "set a name",
    Sas = 10 "set the alternate signal stack",
    RobustList = 11 "set the robust list",
    Filter = 12 "install a seccomp filter",
    Strict = 13 "enter strict seccomp mode",
    Sched = 14 "set scheduling attributes",
    Limit = 15 "set a resource limit",
    IntervalTimer = 16 "set an interval timer",
    PosixTimer = 17 "create a POSIX timer",
    Groups = 18 "set supplementary groups",
    Uids = 19 "set user ids",
    Gids = 20 "set group ids",
    Securebits = 21 "set the secure bits",
    Bounding = 22 "drop from the capability bounding set",
    Caps = 23 "set capabilities",
    Ambient = 24 "raise an ambient capability",
    NoNewPrivs = 25 "set no_new_privs",
    Pending = 26 "queue a pending signal",
    Dumpable = 27 "set the dumpable flag",
    DeathSignal = 28 "set the parent death signal",
    TimerSlack = 29 "set the timer slack",
    Affinity = 30 "bind to its CPUs",
    Ioprio = 31 "set the I/O priority",
    LockFuture = 33 "let memory to come be locked (mlockall)",
    Fork = 34 "be created",
    Inherit = 35 "make of its parent's memory what it had",
    Pages = 36 "read its pages",
    VdsoIa32 = 37 "map the vDSO of 32-bit code as the task knows it: this kernel's is another",
    Uring = 38 "map an io_uring instance where it was",
    UringBuffers = 39 "register the buffers of an io_uring instance",
    Setting = 32 "set what the processor allows the thread, or its policy for memory errors",
}
