//! Timers of a process: the three interval timers (setitimer) and POSIX timers (timer_create).

mod dump;
mod overrun;
pub mod restore;

pub use dump::{itimer, posix, unsupported_clock};
pub use overrun::{Rung, of_timer, tell_overruns};
