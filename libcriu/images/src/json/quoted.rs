//! Quoted-printable text (RFC 2045), which stands for the names of unix sockets.

const LINE: usize = 76;

/// The text of these bytes: everything but printable ASCII as `=XX`, lines broken by `=` and newline. Line ends are
/// kept as they are when that can be read back, and quoted otherwise.
pub(super) fn encode(bytes: &[u8]) -> Vec<u8> {
    let text = encode_with(bytes, false);
    if decode(&text) == bytes { text } else { encode_with(bytes, true) }
}

fn encode_with(bytes: &[u8], quote_line_ends: bool) -> Vec<u8> {
    // The first newline decides what a broken line ends with.
    let crlf =
        !quote_line_ends && bytes.iter().position(|&b| b == b'\n').is_some_and(|i| i > 0 && bytes[i - 1] == b'\r');
    let end: &[u8] = if crlf { b"\r\n" } else { b"\n" };
    let (mut out, mut column, mut i) = (Vec::with_capacity(bytes.len()), 0, 0);
    while i < bytes.len() {
        let (b, next) = (bytes[i], bytes.get(i + 1).copied());
        if must_quote(b, next, column, quote_line_ends) {
            if column + 3 >= LINE {
                out.push(b'=');
                out.extend_from_slice(end);
                column = 0;
            }
            out.push(b'=');
            out.extend([b >> 4, b & 15].map(|d| b"0123456789ABCDEF"[usize::from(d)]));
            column += 3;
        } else if b == b'\n' || (b == b'\r' && next == Some(b'\n')) {
            out.extend_from_slice(end);
            column = 0;
            i += usize::from(b == b'\r');
        } else {
            if next.is_some_and(|n| n != b'\n') && column + 1 >= LINE {
                out.push(b'=');
                out.extend_from_slice(end);
                column = 0;
            }
            out.push(b);
            column += 1;
        }
        i += 1;
    }
    out
}

fn must_quote(b: u8, next: Option<u8>, column: usize, quote_line_ends: bool) -> bool {
    match b {
        b'\r' | b'\n' => quote_line_ends,
        // A line of a single dot means something to mail.
        b'.' => column == 0 && matches!(next, None | Some(b'\n' | b'\r' | 0)),
        b'=' | 0..=32 => true,
        _ => b > 126,
    }
}

/// The bytes that the text stands for.
pub(super) fn decode(text: &[u8]) -> Vec<u8> {
    let (mut out, mut i) = (Vec::with_capacity(text.len()), 0);
    let hex = |at: usize| text.get(at).and_then(|&c| (c as char).to_digit(16));
    while i < text.len() {
        if text[i] != b'=' {
            out.push(text[i]);
            i += 1;
        } else if matches!(text.get(i + 1), Some(b'\n' | b'\r')) {
            // A soft line break: up to and with the newline.
            i = text[i..].iter().position(|&c| c == b'\n').map_or(text.len(), |n| i + n + 1);
        } else if let (Some(high), Some(low)) = (hex(i + 1), hex(i + 2)) {
            out.push((high * 16 + low) as u8);
            i += 3;
        } else {
            out.push(b'=');
            i += 1;
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_values() {
        assert_eq!(encode(b"\0golden"), b"=00golden");
        assert_eq!(encode(b"/tmp/golden2-gone\0"), b"/tmp/golden2-gone=00");
        assert_eq!(encode(b"a b=c\xff"), b"a=20b=3Dc=FF");
        assert_eq!(encode(b"."), b"=2E");
        assert_eq!(encode(&[b'x'; 108]), [vec![b'x'; 75], b"=\n".to_vec(), vec![b'x'; 33]].concat());
    }

    #[test]
    fn every_pair_of_bytes_comes_back() {
        for a in 0..=255u8 {
            for b in 0..=255u8 {
                for name in [vec![a, b], [vec![b'x'; 74], vec![a, b, a]].concat(), vec![b'\r', b'\n', a, b'\n', b]] {
                    assert_eq!(decode(&encode(&name)), name);
                }
            }
        }
    }
}
