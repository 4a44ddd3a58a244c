//! System calls that every thread of an infected process makes for itself, all threads at once.
//!
//! Every other thread gets a slot in the area: its calls, and what it needs to go home by itself. It makes the calls, the last one
//! to do so tells the engine, and all wait until they are put back by ptrace; or, if the engine dies, until the serving
//! thread sends them home. Such a thread leaves the area through instructions in the vDSO, so that the area can be unmapped behind it: those
//! that make an interrupted system call once more share theirs, any other needs its own, and so room there bounds how many
//! can be asked at once.

use std::mem::offset_of;

use criu_pie::abi::parasite::{Call, Control, ENTRY_SLOT, Slot};

use crate::arch::{self, Restart};
use crate::drive;
use crate::error::{Error, Kind, Result};
use crate::infect::{Area, Infected, SLOT_CALLS, SLOT_SCRATCH_BYTES};
use crate::memory;
use crate::ptrace;
use crate::rseq;
use crate::status::ThreadStatus;

/// What one thread's calls gave.
#[derive(Clone, Debug)]
pub struct ThreadAnswer {
    pub tid: i32,
    /// The calls with their results.
    pub calls: Vec<Call>,
    /// What the calls wrote into the thread's scratch memory.
    pub scratch: Vec<u8>,
}

/// Calls for a thread whose scratch memory (128 bytes, zeroed) is at the given address; at most 13.
pub type MakeCalls<'a> = &'a dyn Fn(u64) -> Vec<Call>;

const ALL_SIGNALS: u64 = u64::MAX;

/// Does it take last instructions of its own? Those that are shared spoil two registers, and jump to 64-bit code.
fn needs_exact_exit(regs: &ptrace::Regs) -> bool {
    arch::restart_of(regs) == Restart::None || arch::is_compat(regs)
}

/// Addresses in the area of what belongs to one slot.
struct Places {
    area: Area,
    threads: usize,
}

impl Places {
    fn slot(&self, at: usize) -> u64 {
        self.area.slots + (at * size_of::<Slot>()) as u64
    }

    fn calls(&self, at: usize) -> u64 {
        self.slot(self.threads) + (at * SLOT_CALLS * size_of::<Call>()) as u64
    }

    fn scratch(&self, at: usize) -> u64 {
        self.calls(self.threads) + at as u64 * SLOT_SCRATCH_BYTES
    }
}

impl Infected {
    /// Has every thread that is wanted (by its place among them) make the calls. Answers come in the order of [`crate::SeizedTask::threads`].
    ///
    /// # Errors
    /// When not all threads could make them; drop the [`Infected`] then: all threads go home by themselves.
    pub fn each_thread(&mut self, wanted: &dyn Fn(usize) -> bool, make: MakeCalls<'_>) -> Result<Vec<ThreadAnswer>> {
        let host = self.host();
        let mut answers = Vec::with_capacity(self.hold.task.threads.len());
        let mut others = Vec::new();
        for at in (0..self.hold.task.threads.len()).filter(|at| wanted(*at)) {
            let tid = self.hold.task.threads[at].tid;
            if tid == host {
                answers.push(self.ask_host(make)?);
            } else {
                self.check(at)?;
                others.push(at);
            }
        }
        let batches = self.write_exits_and_split(others)?;
        for batch in batches {
            answers.extend(self.ask_batch(&batch, make)?);
        }
        let order: std::collections::HashMap<i32, usize> =
            self.hold.task.threads.iter().enumerate().map(|(at, t)| (t.tid, at)).collect();
        answers.sort_by_key(|answer| order.get(&answer.tid).copied());
        Ok(answers)
    }

    /// The thread can be moved.
    fn check(&mut self, at: usize) -> Result<()> {
        let task = &mut self.hold.task;
        let tid = task.threads[at].tid;
        if !arch::is_known(&task.threads[at].regs) {
            return Err(Error::new(tid, Kind::ForeignCode, "asking all threads"));
        }
        let seccomp = || ThreadStatus::read(task.pid, tid).is_some_and(|s| s.seccomp != 0);
        if !task.seccomp_suspended && seccomp() {
            return Err(Error::new(tid, Kind::Seccomp, "asking all threads"));
        }
        rseq::abort_if_inside(&self.hold.memory, &mut task.threads[at])
    }

    fn ask_host(&mut self, make: MakeCalls<'_>) -> Result<ThreadAnswer> {
        let (address, _) = self.scratch();
        let mut scratch = vec![0; SLOT_SCRATCH_BYTES as usize];
        self.hold.memory.write(address, &scratch)?;
        let mut calls = make(address);
        self.syscalls(&mut calls)?;
        self.hold.memory.read(address, &mut scratch)?;
        Ok(ThreadAnswer { tid: self.host(), calls, scratch })
    }

    /// Batches of threads (by index) with the address of each one's last instructions.
    fn write_exits_and_split(&mut self, others: Vec<usize>) -> Result<Vec<Vec<(usize, u64)>>> {
        let hold = &self.hold;
        let first = hold.home_bytes.next_multiple_of(16);
        let exact_from = first + 16;
        let exact_room = hold.room.old.len().saturating_sub(exact_from) / arch::EXACT_EXIT_BYTES;
        if exact_room == 0 {
            return Err(Error::new(hold.tid, Kind::NoRoom, "asking all threads"));
        }
        let address = |offset: usize| hold.room.address + offset as u64;
        hold.memory.write(address(first), &arch::shared_exit())?;
        let mut batches = vec![Vec::new()];
        let mut exact = 0;
        for at in others {
            let regs = &hold.task.threads[at].regs;
            let exit = if needs_exact_exit(regs) {
                if exact == exact_room {
                    exact = 0;
                    batches.push(Vec::new());
                }
                exact += 1;
                address(exact_from + (exact - 1) * arch::EXACT_EXIT_BYTES)
            } else {
                address(first)
            };
            if let Some(batch) = batches.last_mut() {
                batch.push((at, exit));
            }
        }
        batches.retain(|batch| !batch.is_empty());
        Ok(batches)
    }

    fn ask_batch(&mut self, batch: &[(usize, u64)], make: MakeCalls<'_>) -> Result<Vec<ThreadAnswer>> {
        let places = Places { area: self.area()?, threads: self.hold.task.threads.len() };
        let tables = self.write_slots(&places, batch, make)?;
        self.set_control(offset_of!(Control, unfinished), batch.len() as u32)?;
        self.arm(&places, batch)?;
        let tids: Vec<i32> = batch.iter().map(|&(at, _)| self.hold.task.threads[at].tid).collect();
        for &tid in &tids {
            ptrace::cont(tid, 0)?;
        }
        self.receive(&tids)?;
        drive::interrupt_all(self.hold.task.pid, &tids)?;
        self.disarm(batch)?;
        self.read_answers(&places, &tids, tables)
    }

    fn set_control(&self, offset: usize, value: u32) -> Result<()> {
        self.hold.memory.write(self.area()?.control + offset as u64, &value.to_le_bytes())
    }

    fn write_slots(&self, places: &Places, batch: &[(usize, u64)], make: MakeCalls<'_>) -> Result<Vec<Vec<Call>>> {
        let hold = &self.hold;
        let (mut slots, mut table, mut tables) = (Vec::new(), Vec::new(), Vec::new());
        for (number, &(at, exit)) in batch.iter().enumerate() {
            let thread = &hold.task.threads[at];
            let int80 = arch::restart_of(&thread.regs) == Restart::Block && rseq::is_int80(&hold.memory, &thread.regs);
            let home = arch::home_regs(&thread.regs, int80);
            if needs_exact_exit(&thread.regs) {
                hold.memory.write(exit, &arch::exact_exit(&home))?;
            }
            let mut calls = make(places.scratch(number));
            calls.truncate(SLOT_CALLS);
            slots.push(Slot {
                control: places.area.control,
                calls: places.calls(number),
                count: calls.len() as u64,
                exit,
                ..arch::slot_of(&home, thread.sigmask)
            });
            table.extend_from_slice(&calls);
            table.resize((number + 1) * SLOT_CALLS, Call::default());
            tables.push(calls);
        }
        // SAFETY: Slot is integers without padding.
        hold.memory.write(places.slot(0), unsafe { memory::bytes_of(&slots) })?;
        // SAFETY: Call is integers without padding.
        hold.memory.write(places.calls(0), unsafe { memory::bytes_of(&table) })?;
        hold.memory.write(places.scratch(0), &vec![0; batch.len() * SLOT_SCRATCH_BYTES as usize])?;
        Ok(tables)
    }

    /// Moves the threads into their slots. The serving thread has to know of each before it is moved.
    fn arm(&self, places: &Places, batch: &[(usize, u64)]) -> Result<()> {
        let entry = places.area.base + ENTRY_SLOT;
        for (number, &(at, _)) in batch.iter().enumerate() {
            let thread = &self.hold.task.threads[at];
            self.set_control(offset_of!(Control, armed), number as u32 + 1)?;
            ptrace::set_regs(thread.tid, &arch::jump_regs(&thread.regs, entry, places.slot(number)))?;
            ptrace::set_sigmask(thread.tid, ALL_SIGNALS)?;
        }
        Ok(())
    }

    /// Puts registers and masks of the (stopped) threads back, the last one first.
    fn disarm(&self, batch: &[(usize, u64)]) -> Result<()> {
        self.set_control(offset_of!(Control, taking_out), 1)?;
        for (number, &(at, _)) in batch.iter().enumerate().rev() {
            let thread = &self.hold.task.threads[at];
            ptrace::set_sigmask(thread.tid, thread.sigmask)?;
            ptrace::set_regs(thread.tid, &thread.regs)?;
            self.set_control(offset_of!(Control, armed), number as u32)?;
        }
        self.set_control(offset_of!(Control, taking_out), 0)
    }

    fn read_answers(&self, places: &Places, tids: &[i32], tables: Vec<Vec<Call>>) -> Result<Vec<ThreadAnswer>> {
        let mut table = vec![Call::default(); tids.len() * SLOT_CALLS];
        // SAFETY: Call is integers without padding, for which every bit pattern is a value.
        self.hold.memory.read(places.calls(0), unsafe { memory::bytes_of_mut(&mut table) })?;
        let mut scratch = vec![0; tids.len() * SLOT_SCRATCH_BYTES as usize];
        self.hold.memory.read(places.scratch(0), &mut scratch)?;
        let scratches = scratch.chunks(SLOT_SCRATCH_BYTES as usize);
        let answers = tids.iter().zip(table.chunks(SLOT_CALLS)).zip(scratches).zip(tables);
        Ok(answers
            .map(|(((&tid, done), scratch), calls)| ThreadAnswer {
                tid,
                calls: done[..calls.len()].to_vec(),
                scratch: scratch.to_vec(),
            })
            .collect())
    }
}
