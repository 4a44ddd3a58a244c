//! Arguments shared between the engine and the programs: `repr(C)`, plain old data, no pointers of Rust types.
