//! The safe Rust API: builds a request from options, starts a worker or connects to a service, answers notifications, and
//! turns the answer into a value or an [`Error`].
//!
//! ```no_run
//! use criu_client::{Client, Silent};
//! use std::os::fd::AsRawFd;
//!
//! let images = std::fs::File::open("/var/tmp/checkpoint")?;
//! let mut client = Client::new();
//! client.opts.pid = Some(4213);
//! client.opts.images_dir_fd = images.as_raw_fd();
//! client.dump(&mut Silent)?;
//! let root = client.restore(&mut Silent)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Descriptors in the options are this process's own numbers: the engine opens them through `/proc/PID/fd`.

// One error a minute is a lot: its size does not matter, its fields do.
#![allow(clippy::result_large_err)]

mod cancel;
mod client;
mod connection;
mod error;
mod session;
mod sys;
mod transport;

pub use cancel::Canceller;
pub use client::{Callbacks, Client, Dumped, Iterations, Notification, Silent};
pub use error::{Blocker, Code, Error, Result};
pub use transport::{Image, Program, Transport, command_exists};
