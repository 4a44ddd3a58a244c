//! The C interface of libsoccr: `libsoccr.so`, `libsoccr.a`, `soccr/soccr.h`.
//!
//! A crate of its own, so that programs and libraries that use `criu-soccr` from Rust do not export these names.

#![allow(non_camel_case_types)]

mod exports;
mod ffi;
mod handle;
mod report;
