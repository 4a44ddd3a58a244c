//! The restorer: turns an ordinary process, whose memory the engine has prepared, into the restored task.
//!
//! Order: the leader unmaps what is old, moves the new into place, sets what belongs to the process, forks children that are
//! nearly the same, creates the threads.
//! Every thread sets what only it can, then waits for the coordinator to trace it (`GO_FINISH`); only then filters,
//! credentials and pending signals are put in place, because from there on the task could no longer defend itself. Threads
//! that share filters with some others only are created then, by one of these, between two filters of its chain: the new
//! thread has the same filters and is traced from its birth. At last all threads wait; the coordinator takes them from here
//! by ptrace.

#![no_std]
#![no_main]

#[path = "../../src/abi/restorer.rs"]
#[allow(dead_code)]
mod abi;
mod creds;
mod finish;
mod process;
mod report;
#[path = "../rt/mod.rs"]
mod rt;
mod thread;
mod timers;
mod twin;
mod uring;

use abi::{Args, Control, GO_FINISH, GO_WAIT, IS_FINISHED, Table, Thread};
use core::sync::atomic::{AtomicU32, Ordering};

const SYS_PAUSE: i64 = 34;
pub(crate) const FUTEX_WAIT: u64 = 0;
pub(crate) const FUTEX_WAKE: u64 = 1;

/// Entered by the engine on the leader's stack in the region.
#[unsafe(no_mangle)]
#[unsafe(link_section = ".text.start")]
extern "C" fn _start(args: *const Args) -> ! {
    // SAFETY: the engine passes the address of its filled-in arguments, which stay mapped until the task is resumed.
    let args = unsafe { &*args };
    process::take_over(args);
    let args = twin::fork_all(args);
    uring::register_buffers(args);
    thread::set_name(args, 0);
    thread::create_all(args);
    run(args, 0)
}

/// One thread's way from its creation to the end.
pub(crate) extern "C" fn run(args: &Args, index: usize) -> ! {
    let threads = slice::<Thread>(args, args.threads);
    let Some(me) = threads.get(index) else { report::fail(args, abi::Step::Clone, -22, index as u64) };
    thread::set_own(args, me, index);
    let control = control(args);
    // A late thread comes when the coordinator traces the others already, and itself from its birth.
    if me.is_late == 0 && args.arrived.fetch_add(1, Ordering::SeqCst) + 1 == threads.len() as u32 - args.late {
        args.arrived.store(0, Ordering::SeqCst);
        arrive(control, &control.ready);
    }
    if me.present & IS_FINISHED != 0 {
        loop {
            // Until the coordinator stops it. Signals are blocked.
            call(SYS_PAUSE, [0; 6]);
        }
    }
    while control.go.load(Ordering::SeqCst) == GO_WAIT {
        wait(&control.go, GO_WAIT);
    }
    finish::finish(args, me, index);
    // The leader goes last: the dumpable flag is lost by every change of credentials.
    if index == 0 {
        loop {
            let n = args.arrived.load(Ordering::SeqCst);
            if n == args.unfinished {
                break;
            }
            // Woken by the last of the others only; a changed value merely comes back at once.
            wait(&args.arrived, n);
        }
        finish::finish_process(args);
        arrive(control, &control.done);
    } else {
        if args.arrived.fetch_add(1, Ordering::SeqCst) + 1 == args.unfinished {
            wake(&args.arrived);
        }
    }
    loop {
        wait(&control.go, GO_FINISH);
    }
}

/// Counts this task in; the last one wakes the coordinator.
fn arrive(control: &Control, counter: &AtomicU32) {
    if counter.fetch_add(1, Ordering::SeqCst) + 1 == control.expected.load(Ordering::SeqCst) {
        control.bell.fetch_add(1, Ordering::SeqCst);
        wake(&control.bell);
    }
}

pub(crate) fn control(args: &Args) -> &Control {
    // SAFETY: the engine maps the control page at this address for as long as the region exists.
    unsafe { &*(args.control as *const Control) }
}

/// A table of the arguments.
pub(crate) fn slice<T>(_: &Args, table: Table) -> &[T] {
    if table.count == 0 {
        return &[];
    }
    // SAFETY: the engine wrote `count` values of this type there, inside the region, aligned; nothing changes them.
    unsafe { core::slice::from_raw_parts(table.address as *const T, table.count as usize) }
}

/// One system call that changes nothing the program's own memory safety rests on.
pub(crate) fn call(nr: i64, a: [u64; 6]) -> i64 {
    // SAFETY: callers pass addresses of live values, and unmap or move nothing that belongs to the region.
    unsafe { rt::syscall(nr, a) }
}

/// The same by the i386 instruction, with addresses below 4 GiB.
pub(crate) fn call_ia32(nr: u32, a: [u32; 4]) -> i64 {
    // SAFETY: as above.
    unsafe { rt::syscall_ia32(nr, a) }
}

pub(crate) fn wait(word: &AtomicU32, value: u32) {
    call(202, [word.as_ptr() as u64, FUTEX_WAIT, u64::from(value), 0, 0, 0]);
}

pub(crate) fn wake(word: &AtomicU32) {
    call(202, [word.as_ptr() as u64, FUTEX_WAKE, i32::MAX as u64, 0, 0, 0]);
}
