//! Signal dispositions of the engine's own process.

use std::io;
use std::mem::zeroed;
use std::ptr;
use std::sync::atomic::{AtomicBool, Ordering};

use criu_pie::abi::restorer::SignalAction;

/// Undoes what a parent may have left over an exec: SIGCHLD ignored (children would vanish before they can be waited
/// for) and blocked signals. For the start of a program.
pub fn reset_inherited() {
    // SAFETY: SIG_DFL is a valid disposition of SIGCHLD; an empty set is a valid mask; both live on this frame.
    unsafe {
        libc::signal(libc::SIGCHLD, libc::SIG_DFL);
        let mut none: libc::sigset_t = zeroed();
        libc::sigemptyset(&raw mut none);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const none, ptr::null_mut());
    }
}

extern "C" fn pass_over(_signal: libc::c_int) {}

/// From now on a write beyond RLIMIT_FSIZE fails with EFBIG and can be reported, where SIGXFSZ would have ended this process without
/// a word. It is handled, not ignored, so that an exec undoes it.
pub fn outlive_size_limit() {
    // SAFETY: the action is fully initialised; its handler does nothing.
    unsafe {
        let mut action: libc::sigaction = zeroed();
        action.sa_sigaction = pass_over as *const () as usize;
        action.sa_flags = libc::SA_RESTART;
        libc::sigemptyset(&raw mut action.sa_mask);
        libc::sigaction(libc::SIGXFSZ, &raw const action, ptr::null_mut());
    }
}

/// What this process does about signals 1 to 64, in the kernel's form; those of SIGKILL and SIGSTOP are zeroes. One that cannot be
/// asked for has no number.
///
/// # References
/// rt_sigaction(2).
pub fn actions() -> Vec<SignalAction> {
    let mut actions = vec![SignalAction::default(); 64];
    for (signo, action) in (1..).zip(&mut actions) {
        // SAFETY: from `handler` on the structure is the kernel's sigaction, with a mask of 8 bytes; nothing is changed.
        let known = unsafe { libc::syscall(libc::SYS_rt_sigaction, signo, 0, &raw mut action.handler, 8) } == 0;
        action.signo = if known { signo } else { 0 };
    }
    actions
}

static TERMINATED: AtomicBool = AtomicBool::new(false);

extern "C" fn note(_signal: libc::c_int) {
    TERMINATED.store(true, Ordering::Relaxed);
}

const ENDING: [libc::c_int; 3] = [libc::SIGINT, libc::SIGTERM, libc::SIGHUP];

/// From now on the first SIGINT, SIGTERM or SIGHUP is only noted (see [`terminated`]); a second one ends the process. What is
/// ignored (nohup(1)) stays so.
///
/// # Errors
/// Those of sigaction.
pub fn note_termination() -> io::Result<()> {
    for signal in ENDING {
        // SAFETY: the action is fully initialised; its handler only stores to an atomic, which is async-signal-safe.
        let r = unsafe {
            let mut action: libc::sigaction = zeroed();
            libc::sigaction(signal, ptr::null(), &raw mut action);
            if action.sa_sigaction == libc::SIG_IGN {
                continue;
            }
            action.sa_sigaction = note as *const () as usize;
            action.sa_flags = libc::SA_RESTART | libc::SA_RESETHAND;
            libc::sigemptyset(&raw mut action.sa_mask);
            libc::sigaction(signal, &raw const action, ptr::null_mut())
        };
        if r != 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

/// Ends what [`note_termination`] began: such a signal ends this process, and so does one that has come meanwhile.
pub fn heed_termination() {
    let mut ended = false;
    for signal in ENDING {
        // SAFETY: the structures are valid for writing and reading; SIG_DFL is a valid disposition of these signals.
        unsafe {
            let mut action: libc::sigaction = zeroed();
            libc::sigaction(signal, ptr::null(), &raw mut action);
            if action.sa_sigaction == note as *const () as usize {
                libc::signal(signal, libc::SIG_DFL);
            }
            // The one that was noted has its usual disposition again (SA_RESETHAND).
            ended |= action.sa_sigaction == libc::SIG_DFL;
        }
    }
    if ended && terminated() {
        // SAFETY: SIGTERM is sent to this thread.
        unsafe { libc::raise(libc::SIGTERM) };
    }
}

/// Whether a signal that asks to end has come.
pub fn terminated() -> bool {
    TERMINATED.load(Ordering::Relaxed)
}
