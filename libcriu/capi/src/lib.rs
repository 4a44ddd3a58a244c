//! The C interface: `libcriu.so.2` and `libcriu.a`.
//!
//! `options` and `operations` are `criu.h`, `ext` is `criu-ext.h`; the headers are generated from them. `state` holds what
//! a `criu_opts` stands for, `ffi` is the boundary, `worker` makes the library its own worker process.

#![allow(non_camel_case_types)]
// One error a minute is a lot: its size does not matter, its fields do.
#![allow(clippy::result_large_err)]

mod callbacks;
mod ext;
mod ffi;
mod operations;
mod options;
mod outcome;
mod state;
mod types;
mod worker;

/// Of CRIU, whose interface this is.
pub(crate) const VERSION: &str = "4.2";
