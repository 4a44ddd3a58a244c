//! Infection: one thread of a stopped process becomes the engine's servant inside.
//!
//! Order, so that the thread finds its way home from every instant: the way home is written; registers are moved there; only then
//! signals are blocked and the CPU affinity changed; mmap (its result is unmapped by the code behind); the parasite is written and
//! entered; it makes a socketpair, one end of which is taken over here. From then on the end of that socket
//! sends it home. Cure goes the same road backwards.

use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

use criu_pie::abi::parasite::{Call, Control, ENTRY_CURE, ENTRY_SERVE, Slot};

use crate::affinity::{self, CpuMask, Pin};
use crate::arch::{self, Home};
use crate::drive;
use crate::error::{Error, Kind, Result};
use crate::memory::{self, Memory};
use crate::ptrace::{self, Regs, Stop};
use crate::rseq;
use crate::seize::{SeizedTask, SeizedThread};
use crate::status::ThreadStatus;
use crate::vdso::{self, Room};

const PAGE: u64 = 4096;
const ALL_SIGNALS: u64 = u64::MAX;
/// Calls that fit the table.
pub(crate) const TABLE_CALLS: usize = 192;
const TABLE_BYTES: u64 = (TABLE_CALLS * size_of::<Call>()) as u64;
/// Memory for arguments and results of remote calls.
const SCRATCH_BYTES: u64 = 16 << 10;
/// Room that the way home and the exit of one more thread need, without a CPU mask.
const HOME_BYTES: usize = 460;

/// Where the parts of the area are, as addresses in the task.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Area {
    pub base: u64,
    pub bytes: u64,
    pub control: u64,
    pub table: u64,
    pub scratch: u64,
    pub slots: u64,
}

/// Per other thread: a slot, its calls, its results.
pub(crate) const SLOT_CALLS: usize = 13;
pub(crate) const SLOT_SCRATCH_BYTES: u64 = 128;
pub(crate) const PER_THREAD_BYTES: u64 =
    (size_of::<Slot>() + SLOT_CALLS * size_of::<Call>()) as u64 + SLOT_SCRATCH_BYTES;

impl Area {
    fn blob_bytes() -> u64 {
        (criu_pie::PARASITE.bytes.len() as u64).next_multiple_of(PAGE)
    }

    fn total_bytes(threads: usize) -> u64 {
        let slots = (threads as u64 * PER_THREAD_BYTES).next_multiple_of(PAGE);
        Self::blob_bytes() + PAGE + TABLE_BYTES + SCRATCH_BYTES + slots
    }

    fn at(base: u64, bytes: u64) -> Area {
        let control = base + Self::blob_bytes();
        let table = control + PAGE;
        let scratch = table + TABLE_BYTES;
        Area { base, bytes, control, table, scratch, slots: scratch + SCRATCH_BYTES }
    }
}

/// A stopped process with a parasite in one of its threads. Dropping it lets everything go: the parasite leaves by itself.
#[derive(Debug)]
pub struct Infected {
    pub(crate) hold: Hold,
    /// Dropped last: the parasite leaves when it is closed, and must not be traced any more by then.
    socket: OwnedFd,
}

/// The thread taken, and all that has to be put back.
#[derive(Debug)]
pub(crate) struct Hold {
    pub task: SeizedTask,
    pub tid: i32,
    pub memory: Memory,
    pub room: Room,
    /// Bytes of the room that the way home of the serving thread takes.
    pub home_bytes: usize,
    pub boot: u64,
    pub area: Option<Area>,
    /// Both ends, as descriptors of the task, before the parasite looks after them.
    sockets: [i32; 2],
    regs: Regs,
    sigmask: u64,
    xstate: Vec<u8>,
    affinity: Option<CpuMask>,
}

/// A call on whose success it depends how the task goes on: one that failed is made once more.
fn twice<T, E>(mut call: impl FnMut() -> std::result::Result<T, E>) -> std::result::Result<T, E> {
    call().or_else(|_| call())
}

/// What the caller knows of a task already, so that it need not be looked up.
#[derive(Clone, Copy, Debug, Default)]
pub struct Known {
    /// Bounds of the vDSO in the task.
    pub vdso: Option<(u64, u64)>,
    /// The index of a thread that is not under seccomp.
    pub unfiltered: Option<usize>,
}

impl SeizedTask {
    /// Puts the parasite into one thread (the leader, unless another one is free of seccomp or the leader is dead). The task
    /// stays as good as stopped: nothing of its own code runs. On failure all is put back and the task released.
    ///
    /// # Errors
    /// [`Kind::ForeignCode`], [`Kind::NoRoom`], [`Kind::Seccomp`]; [`Kind::Remote`] when the task lacks memory (mmap) or
    /// descriptors (socketpair).
    pub fn infect(self) -> Result<Infected> {
        self.infect_knowing(Known::default())
    }

    /// As [`SeizedTask::infect`].
    ///
    /// # Errors
    /// The same.
    pub fn infect_knowing(self, known: Known) -> Result<Infected> {
        let who = known.unfiltered.filter(|at| *at < self.threads.len()).map_or_else(|| self.pick_host(), Ok)?;
        let pin = Pin::here();
        let (mut hold, home) = Hold::prepare(self, who, known.vdso)?;
        match hold.enter(&home, pin.as_ref()) {
            Ok(socket) => Ok(Infected { hold, socket }),
            Err(e) => {
                if let Err(second) = hold.put_back() {
                    log::warn!("{second}");
                }
                Err(e)
            }
        }
    }

    /// Index of the thread to be infected.
    fn pick_host(&self) -> Result<usize> {
        let first = self.threads.first().ok_or(Error::new(self.pid, Kind::Gone, "infecting"))?;
        let seccomp = |t: &SeizedThread| ThreadStatus::read(self.pid, t.tid).is_some_and(|s| s.seccomp != 0);
        let who = if seccomp(first) { self.threads.iter().position(|t| !seccomp(t)) } else { Some(0) };
        match who {
            Some(who) => Ok(who),
            None if self.seccomp_suspended => Ok(0),
            None => Err(Error::new(first.tid, Kind::Seccomp, "infecting")),
        }
    }
}

impl Hold {
    /// Everything that can be looked up and computed while the thread is untouched.
    fn prepare(mut task: SeizedTask, who: usize, vdso: Option<(u64, u64)>) -> Result<(Hold, Home)> {
        let tid = task.threads[who].tid;
        if !arch::is_known(&task.threads[who].regs) {
            return Err(Error::new(tid, Kind::ForeignCode, "infecting"));
        }
        let memory = Memory::open(task.pid, tid)?;
        rseq::abort_if_inside(&memory, &mut task.threads[who])?;
        let SeizedThread { regs, sigmask, .. } = task.threads[who];
        let affinity = affinity::affinity(tid).ok().filter(|mask| mask.len() <= 64);
        let room_bytes = HOME_BYTES + affinity.as_ref().map_or(0, Vec::len);
        let room = match vdso.map_or_else(|| vdso::mapping(task.pid, tid), Ok) {
            Err(e) if e.kind == Kind::NoRoom => vdso::find_room_elsewhere(&memory, task.pid, tid, room_bytes),
            bounds => vdso::find_room(&memory, tid, bounds?, room_bytes),
        }?;
        let home_regs = arch::home_regs(&regs, rseq::is_int80(&memory, &regs));
        let bytes = Area::total_bytes(task.threads.len());
        let area_bytes = u32::try_from(bytes).map_err(|_| Error::new(tid, Kind::Unexpected, "counting threads"))?;
        let home = Home::new(room.address, &home_regs, sigmask, affinity.as_deref(), area_bytes);
        let hold = Hold {
            xstate: ptrace::xstate(tid)?,
            home_bytes: home.code.len(),
            boot: home.boot,
            area: None,
            sockets: [-1; 2],
            task,
            tid,
            memory,
            room,
            regs,
            sigmask,
            affinity,
        };
        Ok((hold, home))
    }

    fn enter(&mut self, home: &Home, pin: Option<&Pin>) -> Result<OwnedFd> {
        self.memory.write(self.room.address, &home.code)?;
        let bytes = Area::total_bytes(self.task.threads.len());
        let (rx, mut private) = (libc::PROT_READ | libc::PROT_EXEC, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
        if arch::is_compat(&self.regs) {
            // A 64-bit call would look above what an i386 task may have.
            private |= libc::MAP_32BIT;
        }
        let args = [0, bytes, rx as u64, private as u64, u64::MAX, 0];
        ptrace::set_regs(self.tid, &arch::call_regs(&self.regs, home.mmap, libc::SYS_mmap, args))?;
        ptrace::set_sigmask(self.tid, ALL_SIGNALS)?;
        self.share_cpu(pin);
        let base = self.finish_call("mmap in the task")?;
        let area = Area::at(base as u64, bytes);
        self.area = Some(area);
        self.place(&area)?;
        ptrace::set_regs(self.tid, &arch::jump_regs(&self.regs, area.base + ENTRY_SERVE, area.control))?;
        self.finish_call("mprotect in the task")?;
        self.finish_call("socketpair in the task")?;
        let mut ends = [0; 8];
        twice(|| self.memory.read(area.control, &mut ends))?;
        self.sockets = [0, 4].map(|at| i32::from_le_bytes([ends[at], ends[at + 1], ends[at + 2], ends[at + 3]]));
        let socket = self.take_fd(self.sockets[1])?;
        ptrace::cont(self.tid, 0)?;
        Ok(socket)
    }

    /// Keeps the thread on the engine's CPU. Its way home puts that back, therefore it must be there already.
    fn share_cpu(&mut self, pin: Option<&Pin>) {
        let (Some(pin), Some(now)) = (pin, self.affinity.as_mut()) else { return };
        let restore = affinity::mask_to_restore(self.tid, now);
        let at = self.room.address + size_of::<u64>() as u64;
        if restore != *now && self.memory.write(at, &restore).is_ok() {
            *now = restore;
        }
        if let Err(e) = affinity::set_affinity(self.tid, &pin.cpu) {
            log::debug!("thread {}: stays on its CPUs: {e}", self.tid);
        }
    }

    /// Writes the parasite and its control block.
    fn place(&self, area: &Area) -> Result<()> {
        let control = Control {
            sockets: [-1, -1],
            calls: area.table,
            area: area.base,
            area_bytes: area.bytes,
            writable: area.control,
            writable_bytes: area.base + area.bytes - area.control,
            boot: self.boot,
            slots: area.slots,
            ..Control::default()
        };
        // SAFETY: Control is integers without padding.
        let control = unsafe { memory::bytes_of(std::slice::from_ref(&control)) };
        self.memory.write(area.control, control)?;
        self.memory.write(area.base, &criu_pie::PARASITE.at(area.base))
    }

    /// Duplicates a descriptor of the task (Linux 5.6).
    fn take_fd(&self, fd: i32) -> Result<OwnedFd> {
        let threads;
        let pidfd = if self.tid == self.task.pid {
            &self.task.pidfd
        } else {
            // A dead leader has no descriptors any more: ask the thread itself (Linux 6.9).
            // SAFETY: integers only.
            let pidfd = unsafe { libc::syscall(libc::SYS_pidfd_open, self.tid, libc::O_EXCL) };
            if pidfd < 0 {
                return Err(Error::last(self.tid, "pidfd_open"));
            }
            // SAFETY: just made by the kernel for us alone.
            threads = unsafe { OwnedFd::from_raw_fd(pidfd as RawFd) };
            &threads
        };
        // SAFETY: integers only.
        let got = unsafe { libc::syscall(libc::SYS_pidfd_getfd, pidfd.as_raw_fd(), fd, 0) };
        if got < 0 {
            return Err(Error::last(self.tid, "pidfd_getfd"));
        }
        // SAFETY: just made by the kernel for us alone.
        Ok(unsafe { OwnedFd::from_raw_fd(got as RawFd) })
    }

    /// Runs the thread to the end of its next system call, which has to succeed.
    fn finish_call(&self, what: &'static str) -> Result<i64> {
        let ret = drive::run_call(self.task.pid, self.tid, what)?;
        if (-4095..0).contains(&ret) { Err(Error::remote(self.tid, what, ret)) } else { Ok(ret) }
    }

    /// From any ptrace stop (outside of the parasite): unmaps what there is and puts everything back.
    fn put_back(&mut self) -> Result<()> {
        for fd in std::mem::replace(&mut self.sockets, [-1; 2]).into_iter().filter(|fd| *fd >= 0) {
            self.call_from_home(libc::SYS_close, [fd as u64, 0, 0, 0, 0, 0], "close in the task")?;
        }
        if let Some(area) = self.area {
            self.call_from_home(libc::SYS_munmap, [area.base, area.bytes, 0, 0, 0, 0], "munmap in the task")?;
            self.area = None;
        }
        self.put_registers_back()
    }

    fn call_from_home(&self, nr: i64, args: [u64; 6], what: &'static str) -> Result<i64> {
        ptrace::set_regs(self.tid, &arch::call_regs(&self.regs, self.boot, nr, args))?;
        self.finish_call(what)
    }

    fn put_registers_back(&mut self) -> Result<()> {
        // From an event stop the kernel restarts an interrupted call as it would have without us.
        drive::to_event_stop(self.task.pid, self.tid)?;
        if let Some(mask) = &self.affinity
            && let Err(e) = twice(|| affinity::set_affinity(self.tid, mask))
        {
            log::warn!("thread {}: CPU affinity cannot be put back: {e}", self.tid);
        }
        ptrace::set_sigmask(self.tid, self.sigmask)?;
        ptrace::set_regs(self.tid, &self.regs)?;
        twice(|| self.memory.write(self.room.address, &self.room.old))
    }

    /// In a copy of this process, which has no way home to go, the vDSO ends as it did before the infection.
    pub(crate) fn show_room_as_it_was(&self, copy: i32) -> Result<()> {
        Memory::open(copy, copy)?.write(self.room.address, &self.room.old)
    }
}

impl Infected {
    pub fn task(&self) -> &SeizedTask {
        &self.hold.task
    }

    /// The thread that serves.
    pub fn host(&self) -> i32 {
        self.hold.tid
    }

    /// The extended state of the thread `at`, as it was before the infection.
    ///
    /// # Errors
    /// Those of [`ptrace::xstate`].
    pub fn xstate(&self, at: usize) -> Result<Vec<u8>> {
        match self.hold.task.threads.get(at) {
            Some(thread) if thread.tid == self.hold.tid => Ok(self.hold.xstate.clone()),
            _ => self.hold.task.xstate(at),
        }
    }

    /// Memory of the task that may be used for arguments and results: address and length in bytes.
    pub fn scratch(&self) -> (u64, u64) {
        (self.hold.area.map_or(0, |a| a.scratch), SCRATCH_BYTES)
    }

    pub fn memory(&self) -> &Memory {
        &self.hold.memory
    }

    /// Makes one system call inside the task. It must not sleep for long, and what it leaves behind stays there if
    /// the engine dies.
    ///
    /// # Errors
    /// Only when the call was not made: what the call itself says is the result.
    pub fn syscall(&mut self, nr: i64, args: [u64; 6]) -> Result<i64> {
        let mut calls = [Call { nr: nr as u64, args, ret: 0 }];
        self.syscalls(&mut calls)?;
        Ok(calls[0].ret)
    }

    /// Makes many system calls at the price of one, in order, whatever each of them says.
    ///
    /// # Errors
    /// Only when they were not all made.
    pub fn syscalls(&mut self, calls: &mut [Call]) -> Result<()> {
        for chunk in calls.chunks_mut(TABLE_CALLS) {
            let table = self.area()?.table;
            // SAFETY: Call is integers without padding.
            self.hold.memory.write(table, unsafe { memory::bytes_of(chunk) })?;
            self.send(chunk.len() as u64)?;
            self.receive(&[])?;
            // SAFETY: Call is integers without padding.
            self.hold.memory.read(table, unsafe { memory::bytes_of_mut(chunk) })?;
        }
        Ok(())
    }

    pub(crate) fn area(&self) -> Result<Area> {
        self.hold.area.ok_or(Error::new(self.hold.tid, Kind::Unexpected, "using the area"))
    }

    fn send(&self, count: u64) -> Result<()> {
        let (fd, message) = (self.socket.as_raw_fd(), count.to_le_bytes());
        // SAFETY: the buffer has the length that is passed.
        let sent = unsafe { libc::send(fd, message.as_ptr().cast(), message.len(), libc::MSG_NOSIGNAL) };
        if sent < 0 { Err(Error::last(self.hold.tid, "asking the parasite")) } else { Ok(()) }
    }

    /// Waits for the answer. `running`: threads beside the serving one that have to do something for it.
    pub(crate) fn receive(&self, running: &[i32]) -> Result<()> {
        let mut message = [0_u8; 8];
        loop {
            self.wait_readable(running)?;
            let fd = self.socket.as_raw_fd();
            // SAFETY: the buffer has the length that is passed.
            let got = unsafe { libc::recv(fd, message.as_mut_ptr().cast(), message.len(), libc::MSG_DONTWAIT) };
            match got {
                8 => return Ok(()),
                0 => return Err(Error::new(self.hold.tid, Kind::Gone, "waiting for the parasite")),
                _ => {
                    let e = std::io::Error::last_os_error();
                    if !matches!(e.raw_os_error(), Some(libc::EINTR | libc::EAGAIN)) {
                        return Err(Error::os(self.hold.tid, "waiting for the parasite", e));
                    }
                }
            }
        }
    }

    /// A thread that stops on the way (SIGSTOP cannot be blocked) is sent on.
    fn wait_readable(&self, running: &[i32]) -> Result<()> {
        const LOOK_MS: i32 = 20;
        let mut poll = libc::pollfd { fd: self.socket.as_raw_fd(), events: libc::POLLIN, revents: 0 };
        loop {
            // SAFETY: one pollfd is passed.
            if unsafe { libc::poll(&raw mut poll, 1, LOOK_MS) } > 0 {
                return Ok(());
            }
            for &tid in running.iter().chain([&self.hold.tid]) {
                match ptrace::try_wait(tid, false)? {
                    None => {}
                    Some(Stop::Event | Stop::Group(_) | Stop::Syscall | Stop::Other(_)) => ptrace::cont(tid, 0)?,
                    Some(Stop::Signal(signal)) => ptrace::cont(tid, signal)?,
                    Some(Stop::Exited(_) | Stop::Killed(_)) => {
                        return Err(Error::new(tid, Kind::Gone, "waiting for the parasite"));
                    }
                }
            }
        }
    }

    /// Takes the parasite out: everything is as it was before, and the process still stopped.
    ///
    /// # Errors
    /// When the task died meanwhile. If anything else fails, the task is released and the parasite leaves by itself.
    pub fn cure(self) -> Result<SeizedTask> {
        let _pin = Pin::here();
        let Infected { mut hold, socket } = self;
        drive::interrupt_all(hold.task.pid, &[hold.tid])?;
        let area = hold.area.ok_or(Error::new(hold.tid, Kind::Unexpected, "curing"))?;
        let cure = arch::jump_regs(&hold.regs, area.base + ENTRY_CURE, area.control);
        ptrace::set_regs(hold.tid, &cure)?;
        hold.finish_call("close in the task")?;
        hold.finish_call("munmap in the task")?;
        hold.area = None;
        hold.put_registers_back()?;
        drop(socket);
        Ok(hold.task)
    }
}
