//! Base64 in lines of 76 characters, each ended by a newline (RFC 2045).

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// How many bytes make one line.
pub(super) const LINE_BYTES: usize = 57;

/// Appends one line without its newline. At most `LINE_BYTES` bytes make one.
pub(super) fn encode_line(bytes: &[u8], out: &mut Vec<u8>) {
    let groups = bytes.chunks_exact(3);
    let rest = groups.remainder();
    for group in groups {
        out.extend_from_slice(&digits(u32::from_be_bytes([0, group[0], group[1], group[2]])));
    }
    match *rest {
        [a] => {
            out.extend_from_slice(&digits(u32::from_be_bytes([0, a, 0, 0]))[..2]);
            out.extend_from_slice(b"==");
        }
        [a, b] => {
            out.extend_from_slice(&digits(u32::from_be_bytes([0, a, b, 0]))[..3]);
            out.push(b'=');
        }
        _ => {}
    }
}

/// The four digits of 24 bits.
#[inline]
fn digits(word: u32) -> [u8; 4] {
    [18, 12, 6, 0].map(|shift| ALPHABET[(word >> shift & 63) as usize])
}

const fn values() -> [u8; 256] {
    let mut table = [255u8; 256];
    let mut i = 0;
    while i < 64 {
        table[ALPHABET[i] as usize] = i as u8;
        i += 1;
    }
    table
}

static VALUES: [u8; 256] = values();

/// The bytes that the text stands for; white space is passed over. `None` when it is no base64.
pub(super) fn decode(text: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len() / 4 * 3 + 3);
    let (mut word, mut digits, mut padding) = (0u32, 0u32, 0u32);
    for &c in text {
        match c {
            b'\n' | b'\r' | b' ' | b'\t' => continue,
            b'=' => {
                padding += 1;
                continue;
            }
            _ => {}
        }
        let value = VALUES[usize::from(c)];
        if value == 255 || padding > 0 {
            return None;
        }
        word = word << 6 | u32::from(value);
        digits += 1;
        if digits == 4 {
            out.extend_from_slice(&word.to_be_bytes()[1..]);
            (word, digits) = (0, 0);
        }
    }
    match (digits, padding) {
        (0, 0) => {}
        (2, 2) => out.push((word >> 4) as u8),
        (3, 1) => out.extend_from_slice(&[(word >> 10) as u8, (word >> 2) as u8]),
        _ => return None,
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encode(bytes: &[u8]) -> String {
        let mut out = Vec::new();
        for line in bytes.chunks(LINE_BYTES) {
            encode_line(line, &mut out);
            out.push(b'\n');
        }
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn known_values() {
        assert_eq!(encode(b""), "");
        assert_eq!(encode(b"f"), "Zg==\n");
        assert_eq!(encode(b"fo"), "Zm8=\n");
        assert_eq!(encode(b"foo"), "Zm9v\n");
        assert_eq!(encode(&[255; 58]).len(), 77 + 5);
    }

    #[test]
    fn back_again() {
        let bytes: Vec<u8> = (0..=255).cycle().take(1000).collect();
        for len in 0..bytes.len() {
            assert_eq!(decode(encode(&bytes[..len]).as_bytes()).unwrap(), &bytes[..len]);
        }
    }

    #[test]
    fn what_is_no_base64() {
        for text in ["Z", "Zg", "Zg=", "Zm9v=", "Z!==", "Zg==Zg=="] {
            assert_eq!(decode(text.as_bytes()), None, "{text}");
        }
    }
}
