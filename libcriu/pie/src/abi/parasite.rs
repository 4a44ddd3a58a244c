//! What the parasite and compel say to each other: the memory they share. All of it lies in the writable part of the area
//! that compel maps into the task; addresses are the task's own.

/// Offsets of the parasite's entry points in its blob.
pub const ENTRY_SERVE: u64 = 0;
/// Closes the socket, unmaps the area and goes home; for the thread that was serving, put there by ptrace.
pub const ENTRY_CURE: u64 = 8;
/// Where every other thread makes its calls; `rbx` holds the address of its [`Slot`].
pub const ENTRY_SLOT: u64 = 16;

/// Makes a copy of the process (clone without a signal at its end), which shares no descriptor and only waits to be ended;
/// then serves on. For the thread that was serving, put there by ptrace, which has to hold the copy from its birth.
pub const ENTRY_COPY: u64 = 24;

/// One system call of a table.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Call {
    pub nr: u64,
    pub args: [u64; 6],
    /// What the kernel returned; a negative value down to -4095 is an errno.
    pub ret: i64,
}

/// The serving thread's own; `rbx` holds its address at [`ENTRY_SERVE`] and [`ENTRY_CURE`].
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Control {
    /// Made by socketpair: the parasite's end, then the engine's.
    pub sockets: [i32; 2],
    /// A message as received: how many calls of the table to make.
    pub count: u64,
    /// A message as sent when they are made.
    pub reply: u64,
    /// The table of [`Call`]s.
    pub calls: u64,
    pub area: u64,
    pub area_bytes: u64,
    /// The part of the area to be made writable.
    pub writable: u64,
    pub writable_bytes: u64,
    /// The way home: a `syscall` instruction, and behind it whatever puts the registers back.
    pub boot: u64,
    /// The first [`Slot`].
    pub slots: u64,
    /// Set when the other threads have to go home by themselves.
    pub go: u32,
    /// Slots whose thread may be in the area: all but the last are there for certain.
    pub armed: u32,
    /// Threads that have not made their calls yet.
    pub unfinished: u32,
    /// 1 while threads are being taken out of their slots again: the last one may be out already.
    pub taking_out: u32,
    /// CLOCK_MONOTONIC, for the parasite's own use.
    pub now: [i64; 2],
}

/// What one other thread runs and how it gets back.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Slot {
    /// 1 as soon as the thread is in the area.
    pub entered: u32,
    /// Its lowest byte is 1 when the thread needs nothing of the area any more.
    pub left: u32,
    pub control: u64,
    pub calls: u64,
    pub count: u64,
    /// Address of the last instructions, outside of the area: they set `left` (`rcx` holds the slot's address) and jump to
    /// the address in `r11`, both registers put right in between where that matters.
    pub exit: u64,
    pub sigmask: u64,
    /// The lowest byte of rflags.
    pub flags_low: u8,
    /// 0x7f when the overflow flag is to be set, else 0.
    pub overflow: u8,
    /// 1 when the direction flag is to be set, else 0.
    pub direction: u8,
    pub reserved: [u8; 5],
    pub rax: u64,
    pub rbx: u64,
    pub rdx: u64,
    pub rsi: u64,
    pub rdi: u64,
    pub rbp: u64,
    pub r8: u64,
    pub r9: u64,
    pub r10: u64,
    pub r12: u64,
    pub r13: u64,
    pub r14: u64,
    pub r15: u64,
    pub rip: u64,
}
