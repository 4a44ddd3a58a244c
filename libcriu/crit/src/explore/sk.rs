//! Sockets.

use criu_images::messages::FileEntry;

use super::View;
use crate::checkpoint::{Checkpoint, address, protocol, unix_name};
use crate::failure::Result;
use crate::json::{Json, int, list, object, text};

const STATES: [&str; 12] = [
    "",
    "established",
    "syn-sent",
    "syn-recv",
    "fin-wait-1",
    "fin-wait-2",
    "time-wait",
    "closed",
    "close-wait",
    "last-ack",
    "listening",
    "closing",
];

fn state(number: u32) -> &'static str {
    STATES.get(number as usize).copied().unwrap_or("")
}

fn kind(number: u32) -> &'static str {
    match number {
        1 => "stream",
        2 => "dgram",
        3 => "raw",
        5 => "seqpacket",
        10 => "packet",
        _ => "",
    }
}

pub(super) fn sk(checkpoint: &Checkpoint) -> Result<View> {
    let (mut out, mut rows) = (String::new(), Vec::new());
    for task in &checkpoint.tasks {
        let mut sockets = Vec::new();
        for fd in checkpoint.fds(task)? {
            let Some((line, facts)) = checkpoint.file(fd.id).and_then(socket) else { continue };
            if sockets.is_empty() {
                out += &format!("{}\n", task.pid());
            }
            out += &format!("{:>9}: {line}\n", fd.fd);
            sockets.push(object([("fd", int(fd.fd)), ("socket", facts)]));
        }
        rows.push(object([("pid", int(task.pid())), ("sockets", list(sockets))]));
    }
    Ok((out, list(rows)))
}

/// A socket as a line and as facts; `None` for another file.
fn socket(file: &FileEntry) -> Option<(String, Json)> {
    if let Some(s) = &file.isk {
        let (from, to) = (address(&s.src_addr, s.src_port), address(&s.dst_addr, s.dst_port));
        let family = if s.family == 10 { "inet6" } else { "inet" };
        let line = format!("{} {} {from} -> {to} {}", family, protocol(s.proto), state(s.state));
        let facts = object([
            ("family", text(family)),
            ("type", text(kind(s.r#type))),
            ("protocol", text(protocol(s.proto))),
            ("state", text(state(s.state))),
            ("source", text(from)),
            ("destination", text(to)),
        ]);
        return Some((line, facts));
    }
    if let Some(s) = &file.usk {
        let name = unix_name(&s.name);
        let line = format!("unix {} {} [{} -> {}] {name}", kind(s.r#type), state(s.state), s.ino, s.peer);
        let facts = object([
            ("family", text("unix")),
            ("type", text(kind(s.r#type))),
            ("state", text(state(s.state))),
            ("inode", int(s.ino)),
            ("peer", int(s.peer)),
            ("name", text(name)),
        ]);
        return Some((line.trim_end().to_owned(), facts));
    }
    let family = match (&file.nlsk, &file.psk) {
        (Some(_), _) => "netlink",
        (_, Some(_)) => "packet",
        _ => return None,
    };
    Some((family.to_owned(), object([("family", text(family))])))
}
