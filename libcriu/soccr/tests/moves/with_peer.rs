//! Connections moved between sockets while the peer is alive.

use std::io::{Read, Write};
use std::net::TcpStream;

use crate::Outcome;

type Test = (&'static str, fn() -> Outcome);

pub const TESTS: &[Test] = &[];

/// Sends `len` bytes each way at once and compares them.
pub fn talk(a: &mut TcpStream, b: &mut TcpStream, len: usize) {
    let bytes: Vec<u8> = (0..len).map(|i| (i * 7 % 253) as u8).collect();
    std::thread::scope(|scope| {
        for stream in [&*a, &*b] {
            let (mut out, mut incoming) = (stream.try_clone().unwrap(), stream.try_clone().unwrap());
            incoming.set_read_timeout(Some(std::time::Duration::from_secs(10))).unwrap();
            let bytes = &bytes;
            scope.spawn(move || out.write_all(bytes).unwrap());
            scope.spawn(move || {
                let mut got = vec![0; len];
                incoming.read_exact(&mut got).unwrap();
                assert!(got == *bytes, "what arrived is not what was sent");
            });
        }
    });
}
