//! One module a family.

pub mod command;
pub mod config;
pub mod images;
pub mod proc;
pub mod request;

/// The first line and what follows it.
fn split_line(input: &[u8]) -> (&str, &[u8]) {
    let at = input.iter().position(|b| *b == b'\n').unwrap_or(input.len());
    (std::str::from_utf8(&input[..at]).unwrap_or_default(), input.get(at + 1..).unwrap_or_default())
}
