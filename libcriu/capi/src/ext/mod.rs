//! The functions of `criu-ext.h`: what CRIU's library does not have.

pub mod control;
pub mod options;
pub mod report;
pub mod request;
pub mod types;
