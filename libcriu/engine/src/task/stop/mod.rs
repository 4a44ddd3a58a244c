//! Stops of job control: the signal that stopped a process, and whether its parent has fetched the report of it (wait(2) with
//! WUNTRACED). The kernel keeps that in its own records only: where they cannot be read, the parent gets the report after a
//! restore, once more perhaps.
//!
//! One that goes on can have another report waiting (WCONTINUED), of which its parent is asked.
//!
//! A restored process is stopped when it has its threads, and before anybody runs: by its own signal, unless this one would not
//! stop it. Then its parent fetches the report, if it had, and forgets the SIGCHLD that came along. Those that are not
//! restored together with their parent are reported to the new one. Whoever goes on, and has not been heard of by its parent, is
//! stopped as well, and continued at once.

pub mod dump;
pub mod restore;
