//! What cannot be kept, and data that cannot be true.

use crate::Outcome;

type Test = (&'static str, fn() -> Outcome);

pub const TESTS: &[Test] = &[];
