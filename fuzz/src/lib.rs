//! What reads input from outside, in families: each is a function that takes any bytes and must come back, without a panic.
//!
//! `cargo xtask fuzz --libfuzzer` (or `cargo fuzz run --features libfuzzer FAMILY`, with a nightly toolchain and sanitizers) drives
//! a family by coverage; `fuzz-plain` drives it by seeded mutations. The family of restores from mutated image directories needs processes and is a suite of `tests/`.

pub mod corpus;
pub mod families;
pub mod mutate;

/// A family: its name and what it does with an input.
#[derive(Clone, Copy, Debug)]
pub struct Family {
    pub name: &'static str,
    pub run: fn(&[u8]),
}

pub const FAMILIES: [Family; 5] = [
    Family { name: "images", run: families::images::run },
    Family { name: "request", run: families::request::run },
    Family { name: "config", run: families::config::run },
    Family { name: "command", run: families::command::run },
    Family { name: "proc", run: families::proc::run },
];
