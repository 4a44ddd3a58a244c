//! The round-trip suites: real programs that hold some state, are dumped, killed and restored, and say themselves
//! whether everything is as it was.
//!
//! A *subject* (`subject.rs`) is a program under `tests/victims` or `tests/programs` with a few facts in its first comment.
//! A *case* (`case.rs`) is a subject in one mode over one route. Each case runs in a process of its own (`trial.rs`), a child
//! subreaper, so that it can reap what the engine killed before the pid is wanted again, and so that whatever a case leaves
//! behind is found and named.

pub mod aged;
pub mod apart;
pub mod bad_input;
pub mod build;
pub mod case;
pub mod coverage;
pub mod descendants;
pub mod engine;
pub mod golden;
pub mod huge_pages;
pub mod layout;
pub mod mutated;
pub mod round_trip;
pub mod snapshot;
pub mod subject;
pub mod suite;
pub mod torture;
pub mod traces;
pub mod trial;
pub mod verdict;
pub mod within;
