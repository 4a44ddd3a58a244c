//! The restorer's region in a task: its program, its arguments, the threads' stacks and the control pages, at a place that
//! is free both now and in the restored layout; and the jump into it.

use std::os::fd::RawFd;
use std::sync::atomic::{AtomicU32, Ordering};

use criu_images::messages::SeccompFilter;
use criu_pie::RESTORER;
use criu_pie::abi::restorer::{
    Args, Filter, IS_FINISHED, Load, MmMap, Move, Pages, Range, SignalAction, THREAD_STACK_BYTES, Table, Thread, Twin,
    Uring, UringBuffers, VdsoIa32,
};

use super::check::Prepared;
use super::checkpoint::{Alive, Task};
use super::memory::Memory;
use super::table::Kept;
use super::world::World;
use crate::error::{Error, Phase, Result};
use crate::mem::vdso::restore::{Choice, patched};
use crate::mem::vma::restore::Backing;
use crate::mem::vma::{PAGE_BYTES, USER_END};
use crate::sys::arena::Arena;
use crate::sys::enter::enter_restorer;
use crate::sys::mapping::Mapped;
use crate::sys::spawn;
use crate::task::abi::IA32_END;
use crate::task::seccomp::restore::install_flags;

/// Offset of a `syscall` instruction in the program, for the coordinator's last call in each task.
pub(crate) fn syscall_offset() -> u64 {
    RESTORER.bytes.windows(2).position(|w| w == [0x0f, 0x05]).unwrap_or(0) as u64
}

/// What the restorer does to the address space.
#[derive(Default)]
struct Moves {
    unmap: Vec<Range>,
    moves: Vec<Move>,
    urings: Vec<Uring>,
    /// Needed when there are `urings`.
    gaps: Vec<Range>,
}

/// Addresses of the region's parts.
struct Plan {
    start: u64,
    data: u64,
    stacks: u64,
    /// Arguments of twins, which are shared: a fork copies nothing of them.
    twins: u64,
    control: u64,
    end: u64,
}

/// Bytes of those parts whose size depends on the task.
#[derive(Clone, Copy, Default)]
struct Sizes {
    data: u64,
    threads: u64,
    twins: u64,
    control: u64,
}

/// Turns this process into the task.
pub(crate) fn enter(
    world: &World,
    index: usize,
    alive: &Alive,
    mut memory: Memory,
    kept: Kept,
) -> Result<std::convert::Infallible> {
    let checked = world.checked.clone();
    let task = &checked.checkpoint.tasks[index];
    let failed = |call: &str, e: std::io::Error| {
        let forbidden = call == "mprotect" && e.raw_os_error() == Some(libc::EACCES);
        let failed = Error::os(Phase::Memory, "the restorer's region", call, e);
        let hint =
            "whoever started the engine forbids what was written to be executed (PR_SET_MDWE, SELinux): lift that";
        if forbidden { failed.hint(hint) } else { failed }
    };
    let no_room = || Error::new(Phase::Memory, "the restorer's region", "there is no room in the address space");
    let prepared = checked.prepared[index].as_ref().ok_or_else(no_room)?;
    set_process_flags(task, alive)?;
    if alive.mm.memory_merge() {
        memory.merge(alive)?;
    }

    let (vdso_moves, vdso_extra) = place_vdso(world, alive, prepared, &mut memory)?;
    let actions = &prepared.actions;
    let facts = Facts { world, index, task, alive, prepared, actions, exe: Some(kept.exe), images: kept.images };
    let mut keep: Vec<(u64, u64)> = memory.placed.iter().map(|p| (p.mapped.start(), p.mapped.len())).collect();
    keep.extend(vdso_extra.iter().map(|m| (m.start(), m.len())));
    let own_vdso = match (&prepared.vdso, &checked.vdso) {
        (Choice::Move { parts, .. }, _) => &parts[..],
        (Choice::Patch { .. }, Some(own)) => &own.parts,
        _ => &[],
    };
    keep.extend(own_vdso.iter().map(|p| (p.start, p.end - p.start)));
    let is_there = vdso_moves.is_empty();
    let mut moves = vdso_moves;
    let temporary = alive.layout.areas.iter().zip(&memory.placed).filter(|(a, p)| a.start != p.mapped.start());
    moves.extend(temporary.map(|(a, p)| Move { from: p.mapped.start(), to: a.start, len: a.len() }));
    if let (Some(extra), Some(at)) =
        (vdso_extra.filter(|m| Some(m.start()) != alive.layout.vdso.as_ref().map(|v| v.start)), &alive.layout.vdso)
    {
        moves.push(Move { from: extra.start(), to: at.start, len: extra.len() });
    }
    // The tables' size does not depend on where they stand, except that the region makes two gaps of one.
    let urings = urings(world, alive)?;
    let mut end: Vec<(u64, u64)> = alive.layout.occupied().iter().map(|r| (r.start, r.end - r.start)).collect();
    // Of the vDSO, which may be elsewhere than it was.
    end.extend(moves.iter().filter(|m| moves.iter().all(|next| next.from != m.to)).map(|m| (m.to, m.len)));
    if is_there {
        end.extend(own_vdso.iter().map(|p| (p.start, p.end - p.start)));
    }
    let gaps = if urings.is_empty() { Vec::new() } else { complement(end.clone()) };
    let mut moves = Moves { unmap: complement(keep.clone()), moves, urings, gaps };
    moves.unmap.push(Range::default());
    moves.gaps.push(Range::default());
    let twins = |arena: Arena, plan: &Plan| twins(world, index, arena, plan);
    let control = world.control.mapped();
    let nowhere = Plan::at(0, Sizes::default());
    let (draft, _) = facts.arena(Arena::measuring(), &nowhere, &moves, Table::default());
    let sizes = Sizes {
        data: draft.length().next_multiple_of(PAGE_BYTES),
        threads: alive.threads.len() as u64,
        twins: twins(Arena::measuring(), &nowhere).0.length().next_multiple_of(PAGE_BYTES),
        control: control.len(),
    };
    let region = memory.reserve(Plan::at(0, sizes).end, 0)?.ok_or_else(no_room)?;
    let plan = Plan::at(region.start(), sizes);
    if plan.end > IA32_END && prepared.actions.iter().any(|a| a.is_ia32 != 0) {
        return Err(no_room().hint("i386 calls reach the first 4 GiB only"));
    }
    keep.push((plan.start, plan.end - plan.start));
    moves.unmap = complement(keep);
    if !moves.urings.is_empty() {
        end.push((plan.start, plan.end - plan.start));
        moves.gaps = complement(end);
    }

    let (twin_arguments, table) = twins(Arena::new(plan.twins, sizes.twins), &plan);
    let (arena, args) = facts.arena(Arena::new(plan.data, sizes.data), &plan, &moves, table);
    let code = region.part(0, plan.data - plan.start);
    code.fill(&RESTORER.at(plan.start)).map_err(|e| failed("mmap", e))?;
    code.protect(libc::PROT_READ | libc::PROT_EXEC).map_err(|e| failed("mprotect", e))?;
    let data = region.part(plan.data - plan.start, plan.twins - plan.data);
    data.fill(arena.bytes()).map_err(|e| failed("mmap", e))?;
    if sizes.twins > 0 {
        let shared = Mapped::shared(sizes.twins).map_err(|e| failed("mmap", e))?;
        shared.fill(twin_arguments.bytes()).map_err(|e| failed("mmap", e))?;
        let part = region.part(plan.twins - plan.start, sizes.twins);
        part.show_shared(&shared, 0).map_err(|e| failed("mremap", e))?;
    }
    let shared = region.part(plan.control - plan.start, plan.end - plan.control);
    shared.show_shared(control, 0).map_err(|e| failed("mremap", e))?;
    if let Some(mdwe) = task.core.mdwe.filter(|m| *m != 0) {
        // From here on nothing can be made executable.
        spawn::prctl(libc::PR_SET_MDWE, mdwe.into())
            .map_err(|e| Error::os(Phase::Threads, "memory-deny-write-execute", "prctl", e))?;
    }
    for task in std::iter::once(index).chain(world.twins.of(index).map(|(child, _)| child)) {
        let slot = &world.control.slots()[task];
        slot.region.store(plan.start, Ordering::SeqCst);
        slot.region_len.store(plan.end - plan.start, Ordering::SeqCst);
    }
    let stack_top = plan.stacks + THREAD_STACK_BYTES;
    // SAFETY: the program stands at `plan.start` with its relocations, the first stack is mapped below `stack_top`, and
    // `args` is where `arena` has put the arguments.
    unsafe { enter_restorer(plan.start + RESTORER.entry as u64, stack_top, args) }
}

impl Plan {
    fn at(start: u64, sizes: Sizes) -> Plan {
        let data = start + (RESTORER.bytes.len() as u64).next_multiple_of(PAGE_BYTES);
        let stacks = data + sizes.data;
        let twins = stacks + sizes.threads * THREAD_STACK_BYTES;
        let control = twins + sizes.twins;
        Plan { start, data, stacks, twins, control, end: control + sizes.control }
    }
}

/// Flags of the process and its address space that a prctl of its own sets.
fn set_process_flags(task: &Task, alive: &Alive) -> Result<()> {
    let set = |what: &'static str, option: i32, value: u64| {
        spawn::prctl(option, value).map(drop).map_err(|e| Error::os(Phase::Threads, what, "prctl", e))
    };
    set("subreaper flag", libc::PR_SET_CHILD_SUBREAPER, task.core.child_subreaper().into())?;
    let flags = u64::from(alive.mm.thp_disable()) & !1;
    spawn::prctl_with(libc::PR_SET_THP_DISABLE, [alive.mm.thp_disabled().into(), flags])
        .map_err(|e| Error::os(Phase::Threads, "huge page setting", "prctl", e))?;
    for bit in (0..32).filter(|b| task.core.membarrier_registration_mask() >> b & 1 == 1) {
        spawn::membarrier(1 << bit).map_err(|e| Error::os(Phase::Threads, "membarrier", "membarrier", e))?;
    }
    Ok(())
}

/// Moves of the vDSO's parts, and the patched copy of the image's vDSO when there has to be one.
fn place_vdso(
    world: &World,
    alive: &Alive,
    prepared: &Prepared,
    memory: &mut Memory,
) -> Result<(Vec<Move>, Option<Mapped>)> {
    let failed = |call: &str, e| Error::os(Phase::Memory, "vDSO", call, e);
    let no_room = || Error::new(Phase::Memory, "vDSO", "there is no room for it in the address space");
    let (Some(own), false) = (&world.checked.vdso, prepared.vdso == Choice::Nothing) else {
        return Ok((Vec::new(), None));
    };
    let span = own.span();
    fn shift(parts: &[std::ops::Range<u64>], by: u64) -> impl Iterator<Item = Move> {
        parts.iter().map(move |p| Move { from: p.start, to: p.start.wrapping_add(by), len: p.end - p.start })
    }
    match &prepared.vdso {
        Choice::Nothing | Choice::Ia32 { .. } => Ok((Vec::new(), None)),
        Choice::Move { displacement: 0, .. } => Ok((Vec::new(), None)),
        Choice::Move { displacement, parts } => {
            let by = *displacement as u64;
            if displacement.unsigned_abs() >= span.end - span.start {
                return Ok((shift(parts, by).collect(), None));
            }
            // It would overlap itself: by way of another place.
            let away =
                memory.space.find(span.end - span.start, span.start).ok_or_else(no_room)?.wrapping_sub(span.start);
            let back = shift(parts, away).map(|m| Move { from: m.to, to: m.from.wrapping_add(by), len: m.len });
            Ok((shift(parts, away).chain(back).collect(), None))
        }
        Choice::Patch { code, functions } => {
            let Some(place) = alive.layout.vdso.clone() else { return Ok((Vec::new(), None)) };
            let away =
                memory.space.find(span.end - span.start, span.start).ok_or_else(no_room)?.wrapping_sub(span.start);
            let bytes = patched(code, functions, own.code.start.wrapping_add(away));
            let len = place.end - place.start;
            let copy = memory.reserve(len, place.start)?.ok_or_else(no_room)?;
            copy.fill(&bytes).map_err(|e| failed("mmap", e))?;
            copy.protect(libc::PROT_READ | libc::PROT_EXEC).map_err(|e| failed("mprotect", e))?;
            Ok((shift(&own.parts, away).collect(), Some(copy)))
        }
    }
}

/// The mappings of io_uring instances.
fn urings(world: &World, alive: &Alive) -> Result<Vec<Uring>> {
    let mut urings = Vec::new();
    for area in &alive.layout.areas {
        let Backing::Uring { id } = area.backing else { continue };
        let fd = world.files.number_of(alive.ids.files_id, id);
        let fd = fd.ok_or_else(|| Error::new(Phase::Memory, area.name(), "the task has no descriptor of its file"))?;
        let (start, len, offset, prot) = (area.start, area.len(), area.offset, area.prot as u64);
        urings.push(Uring { start, len, offset, prot, fd, pad: 0, advice: area.advice });
    }
    Ok(urings)
}

/// Everything in user space but what is kept.
fn complement(mut keep: Vec<(u64, u64)>) -> Vec<Range> {
    keep.sort_unstable();
    let (mut gaps, mut at) = (Vec::new(), 0);
    for (start, len) in keep {
        if start > at {
            gaps.push(Range { start: at, len: start - at });
        }
        at = at.max(start + len);
    }
    if at < USER_END {
        gaps.push(Range { start: at, len: USER_END - at });
    }
    gaps
}

/// The arguments of all twins of the task `index`, and the table that tells of them.
fn twins(world: &World, index: usize, mut arena: Arena, plan: &Plan) -> (Arena, Table) {
    let checked = &world.checked;
    let mut twins = Vec::new();
    for (child, twin) in world.twins.of(index) {
        let task = &checked.checkpoint.tasks[child];
        let (Some(alive), Some(prepared)) = (task.alive(), &checked.prepared[child]) else { continue };
        let facts =
            Facts { world, index: child, task, alive, prepared, actions: &twin.actions, exe: None, images: None };
        let memory = &twin.memory;
        let moves = Moves { unmap: memory.unmap.clone(), ..Moves::default() };
        let args;
        (arena, args) = facts.arena(arena, plan, &moves, Table::default());
        twins.push(Twin {
            args,
            pid: task.pid,
            has_layout: twin.has_layout.into(),
            born: plan.control + world.control.born_at(child),
            rooms: arena.push(&memory.rooms),
            pages: pages(&mut arena, &memory.discard, alive, &memory.loads),
        });
    }
    let table = arena.push(&twins);
    (arena, table)
}

/// Pages of a task's that take the place of what is there.
fn pages(arena: &mut Arena, discard: &[Range], alive: &Alive, loads: &[Load]) -> Pages {
    let name: Vec<u8> = alive.pages.name.bytes().chain([0]).collect();
    Pages { discard: arena.push(discard), image: arena.push(&name), loads: arena.push(loads) }
}

pub(super) struct Facts<'a> {
    pub(super) world: &'a World,
    index: usize,
    pub(super) task: &'a Task,
    pub(super) alive: &'a Alive,
    pub(super) prepared: &'a Prepared,
    actions: &'a [SignalAction],
    /// `None` for a twin, which has its parent's.
    exe: Option<RawFd>,
    images: Option<RawFd>,
}

impl Facts<'_> {
    /// The arguments and their tables, for their place in the region; and the arguments' address.
    fn arena(&self, mut arena: Arena, plan: &Plan, moves: &Moves, twins: Table) -> (Arena, u64) {
        // A twin's parent has given it back.
        let rseq = self.exe.and(self.world.checked.own.rseq).unwrap_or_default();
        let threads: Vec<Thread> =
            (0..self.alive.threads.len()).map(|i| self.thread(&mut arena, plan.stacks, i)).collect();
        let filters = self.filters(&mut arena);
        let p = self.prepared;
        let uring_buffers = self.uring_buffers(&mut arena);
        let (common, own) = self.common(&mut arena).unwrap_or_default();
        let args = Args {
            control: plan.control,
            task: self.index as u32,
            arrived: AtomicU32::new(0),
            unfinished: threads.iter().skip(1).filter(|t| t.present & IS_FINISHED == 0).count() as u32,
            prefix_done: AtomicU32::new(0),
            late: p.seccomp.late() as u32,
            late_born: AtomicU32::new(0),
            timers_made: AtomicU32::new(0),
            timers_overrun: AtomicU32::new(0),
            pid: self.task.pid,
            unmap: arena.push(&moves.unmap),
            moves: arena.push(&moves.moves),
            urings: arena.push(&moves.urings),
            gaps: arena.push_gaps(&moves.gaps),
            uring_buffers,
            mm_map: self.mm_map(&mut arena),
            vdso_ia32: self.vdso_ia32(&mut arena),
            close: arena.push(self.exe.as_slice()),
            threads: arena.push(&threads),
            actions: arena.push(self.actions),
            itimers: arena.push(&p.itimers),
            timers: arena.push(&p.timers),
            pending: arena.push(&p.pending),
            limits: arena.push(&p.limits),
            filters: arena.push(&filters),
            prefix: arena.push(&p.seccomp.prefix),
            old_rseq: rseq.0,
            old_rseq_size: rseq.1,
            old_rseq_signature: rseq.2,
            personality: self.task.core.personality,
            mlock_future: self.alive.mm.mlock_future(),
            dumpable: self.alive.mm.dumpable.map_or(1, |d| d as u32),
            images: self.images.unwrap_or(-1),
            twins,
            common,
            own,
        };
        let at = arena.push_args(&args);
        (arena, at)
    }

    /// What the twins have in common, and how this task, their parent, gets its own again.
    fn common(&self, arena: &mut Arena) -> Option<(Pages, Pages)> {
        let common = self.world.twins.common(self.index)?;
        let model = self.world.checked.checkpoint.tasks[common.model].alive()?;
        let theirs = pages(arena, &[], model, &common.loads);
        Some((theirs, pages(arena, &common.discard, self.alive, &common.own)))
    }

    fn uring_buffers(&self, arena: &mut Arena) -> Table {
        let mut all = Vec::new();
        for (fd, buffers) in self.world.files.uring_buffers(self.alive.ids.files_id, self.task.pid) {
            let (mut places, mut tags) = (vec![[0, 0]; buffers.count as usize], vec![0; buffers.count as usize]);
            for buffer in &buffers.buffers {
                let at = buffer.place as usize;
                if let (Some(place), Some(tag)) = (places.get_mut(at), tags.get_mut(at)) {
                    (*place, *tag) = ([buffer.address, buffer.bytes], buffer.tag());
                }
            }
            let (places, tags) = (arena.push(places.as_flattened()), arena.push(&tags));
            all.push(UringBuffers { fd, pad: 0, all: [buffers.count.into(), 0, places.address, tags.address] });
        }
        arena.push(&all)
    }

    fn mm_map(&self, arena: &mut Arena) -> MmMap {
        let mm = &self.alive.mm;
        let auxv = arena.push(&mm.mm_saved_auxv);
        MmMap {
            start_code: mm.mm_start_code,
            end_code: mm.mm_end_code,
            start_data: mm.mm_start_data,
            end_data: mm.mm_end_data,
            start_brk: mm.mm_start_brk,
            brk: mm.mm_brk,
            start_stack: mm.mm_start_stack,
            arg_start: mm.mm_arg_start,
            arg_end: mm.mm_arg_end,
            env_start: mm.mm_env_start,
            env_end: mm.mm_env_end,
            auxv: auxv.address,
            auxv_size: (mm.mm_saved_auxv.len() * 8) as u32,
            exe_fd: self.exe.unwrap_or(-1),
        }
    }

    fn vdso_ia32(&self, arena: &mut Arena) -> VdsoIa32 {
        match (&self.prepared.vdso, &self.alive.layout.vdso) {
            (Choice::Ia32 { at, code }, Some(place)) => {
                VdsoIa32 { at: *at, code: place.start, expected: arena.push(code) }
            }
            _ => VdsoIa32::default(),
        }
    }

    fn filters(&self, arena: &mut Arena) -> Vec<Filter> {
        if !self.prepared.seccomp.is_needed() {
            return Vec::new();
        }
        let filter = |f: &SeccompFilter| {
            let mut instructions = arena.push(f.filter.as_slice());
            instructions.count = f.filter.len() as u64 / 8;
            Filter { flags: install_flags(f).into(), instructions }
        };
        self.world.checked.checkpoint.filters.iter().map(filter).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_complement_is_what_is_not_kept() {
        let gaps = complement(vec![(0x5000, 0x1000), (0x1000, 0x2000), (0x3000, 0x1000)]);
        let range = |start, end| Range { start, len: end - start };
        assert_eq!(gaps, vec![range(0, 0x1000), range(0x4000, 0x5000), range(0x6000, USER_END)]);
    }

    #[test]
    fn the_program_has_a_syscall_instruction() {
        let at = syscall_offset() as usize;
        assert_eq!(RESTORER.bytes[at..at + 2], [0x0f, 0x05]);
    }
}
