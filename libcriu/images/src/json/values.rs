//! Numbers as the display options say.

use super::sink::Sink;
use crate::schema::{Show, Type};

#[inline]
pub(super) fn plain(p: &mut impl Sink, kind: Type, value: u64) {
    match kind {
        Type::Int32 | Type::Int64 | Type::Sint32 | Type::Sint64 => p.signed(value as i64),
        _ => p.unsigned(value),
    }
}

pub(super) fn number(p: &mut impl Sink, show: Show, kind: Type, value: u64, hex: bool) {
    if hex {
        let signed = matches!(kind, Type::Int32 | Type::Int64 | Type::Sint32 | Type::Sint64) && (value as i64) < 0;
        p.hex(signed, if signed { (value as i64).unsigned_abs() } else { value });
        return;
    }
    match show {
        Show::Dev => dev(p, value >> 20, value & 0xf_ffff),
        Show::OldDev => {
            let v = value;
            dev(p, (v >> 8 & 0xfff) | (v >> 32 & 0xffff_f000), (v & 0xff) | (v >> 12 & 0xffff_ff00));
        }
        Show::Flags(names) => flags(p, names, value),
        Show::Dict(names) => match names.iter().find(|n| n.1 == value) {
            Some((name, _)) => p.name(name),
            None => plain(p, kind, value),
        },
        _ => plain(p, kind, value),
    }
}

fn dev(p: &mut impl Sink, major: u64, minor: u64) {
    p.label(&format!("{major}:{minor}"));
}

fn flags(p: &mut impl Sink, names: &[(&str, u64)], value: u64) {
    let (mut rest, mut text) = (value, String::new());
    let mut add = |flag: &str| {
        text.push_str(if text.is_empty() { "" } else { " | " });
        text.push_str(flag);
    };
    for (name, bits) in names {
        if rest & bits == *bits {
            add(name);
            rest &= !bits;
        }
    }
    if rest != 0 {
        add(&format!("{rest:#x}"));
    }
    p.label(&text);
}

pub(super) fn address(words: &[u32]) -> Option<String> {
    match *words {
        [v4] => Some(std::net::Ipv4Addr::from(v4.to_le_bytes()).to_string()),
        [a, b, c, d] => {
            let mut bytes = [0; 16];
            for (to, word) in bytes.chunks_mut(4).zip([a, b, c, d]) {
                to.copy_from_slice(&word.to_le_bytes());
            }
            Some(ipv6(std::net::Ipv6Addr::from(bytes).segments()))
        }
        _ => None,
    }
}

/// Groups only, also for mapped IPv4 addresses; the first longest run of two or more zeros is left out.
fn ipv6(groups: [u16; 8]) -> String {
    let (mut best_at, mut best_len, mut at) = (0, 1, 0);
    while at < 8 {
        let len = groups[at..].iter().take_while(|&&g| g == 0).count();
        if len > best_len {
            (best_at, best_len) = (at, len);
        }
        at += len.max(1);
    }
    let join = |part: &[u16]| part.iter().map(|g| format!("{g:x}")).collect::<Vec<_>>().join(":");
    match best_len {
        1 => join(&groups),
        _ => format!("{}::{}", join(&groups[..best_at]), join(&groups[best_at + best_len..])),
    }
}
