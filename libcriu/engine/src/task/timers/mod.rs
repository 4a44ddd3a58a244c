//! Timers of a process: the three interval timers (setitimer) and POSIX timers (timer_create).

mod dump;
pub mod restore;

pub use dump::{itimer, posix, tell_of_lost_overruns, unsupported_clock};
