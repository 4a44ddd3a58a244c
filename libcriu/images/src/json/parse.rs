//! A JSON reader that keeps integers exact, positions for errors, and lone surrogates as the bytes they stand for.

use std::borrow::Cow;

use crate::wire::Fault;

type Result<T> = std::result::Result<T, Fault>;

/// How deep values may be nested: two levels for each message.
pub(super) const MAX_DEPTH: usize = 2 * crate::wire::MAX_DEPTH + 10;

/// A value and where it stands.
#[derive(Clone, Debug)]
pub struct Value<'a> {
    /// The offset in the text; 0 for a value that was made.
    pub at: usize,
    pub data: Data<'a>,
}

/// What a value is. Strings are bytes: what is not UTF-8 in them is kept.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub enum Data<'a> {
    Null,
    Bool(bool),
    /// The digits as they stand in a text.
    Number(&'a [u8]),
    Integer(i128),
    String(Cow<'a, [u8]>),
    List(Vec<Value<'a>>),
    Object(Vec<(Cow<'a, [u8]>, Value<'a>)>),
}

impl<'a> Value<'a> {
    /// A value that stands in no text.
    pub fn new(data: Data<'a>) -> Self {
        Value { at: 0, data }
    }

    /// The member of an object.
    pub fn get(&self, name: &str) -> Option<&Value<'a>> {
        match &self.data {
            Data::Object(members) => members.iter().find(|m| *m.0 == *name.as_bytes()).map(|m| &m.1),
            _ => None,
        }
    }

    /// A number that is written as one.
    pub fn integer(&self) -> Option<i128> {
        match &self.data {
            Data::Number(digits) => read_integer(digits),
            Data::Integer(value) => Some(*value),
            _ => None,
        }
    }

    pub(crate) fn fault(&self, reason: impl Into<String>) -> Fault {
        Fault { offset: self.at as u64, reason: reason.into() }
    }
}

/// The value that a JSON text stands for; `None` when it is no JSON.
pub fn parse(text: &str) -> Option<Value<'_>> {
    let mut parser = Parser::new(text.as_bytes());
    let value = parser.value(0).ok()?;
    parser.peek().is_none().then_some(value)
}

/// Decimal, or hexadecimal with `0x`.
pub(super) fn read_integer(text: &[u8]) -> Option<i128> {
    let text = std::str::from_utf8(text).ok()?;
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => (-1, digits),
        None => (1, text),
    };
    if digits.starts_with('+') || digits.is_empty() {
        return None;
    }
    let value = match digits.strip_prefix("0x") {
        Some(hex) if !hex.starts_with('+') => u64::from_str_radix(hex, 16),
        _ => digits.parse(),
    };
    value.ok().map(|v| sign * i128::from(v))
}

/// Reads from a text piece by piece.
#[derive(Clone, Copy, Debug)]
pub(super) struct Parser<'a> {
    text: &'a [u8],
    at: usize,
}

impl<'a> Parser<'a> {
    pub fn new(text: &'a [u8]) -> Self {
        Parser { text, at: 0 }
    }

    pub fn fault(&self, reason: impl Into<String>) -> Fault {
        Fault { offset: self.at as u64, reason: reason.into() }
    }

    /// The next character that is no white space.
    pub fn peek(&mut self) -> Option<u8> {
        while matches!(self.text.get(self.at), Some(b' ' | b'\n' | b'\r' | b'\t')) {
            self.at += 1;
        }
        self.text.get(self.at).copied()
    }

    pub fn expect(&mut self, c: u8) -> Result<()> {
        match self.peek() {
            Some(found) if found == c => {
                self.at += 1;
                Ok(())
            }
            Some(found) => Err(self.fault(format!("{:?} where {:?} belongs", found as char, c as char))),
            None => Err(self.fault(format!("the text ends where {:?} belongs", c as char))),
        }
    }

    /// Moves to the next element of a list or object: `false` when it was closed instead.
    pub fn more(&mut self, first: bool, close: u8) -> Result<bool> {
        if self.peek() == Some(close) {
            self.at += 1;
            return Ok(false);
        }
        if !first {
            self.expect(b',')?;
        }
        Ok(true)
    }

    /// A key with its colon.
    pub fn key(&mut self) -> Result<Cow<'a, [u8]>> {
        self.peek();
        let key = self.string()?;
        self.expect(b':')?;
        Ok(key)
    }

    pub fn value(&mut self, depth: usize) -> Result<Value<'a>> {
        if depth > MAX_DEPTH {
            return Err(self.fault(format!("values are nested deeper than {MAX_DEPTH}")));
        }
        let first = self.peek();
        let at = self.at;
        let data = match first {
            Some(b'{') => self.object(depth)?,
            Some(b'[') => self.list(depth)?,
            Some(b'"') => Data::String(self.string()?),
            Some(b'-' | b'0'..=b'9') => Data::Number(self.number()),
            Some(b't') => self.word("true", Data::Bool(true))?,
            Some(b'f') => self.word("false", Data::Bool(false))?,
            Some(b'n') => self.word("null", Data::Null)?,
            Some(c) => return Err(self.fault(format!("{:?} starts no value", c as char))),
            None => return Err(self.fault("the text ends where a value belongs")),
        };
        Ok(Value { at, data })
    }

    fn object(&mut self, depth: usize) -> Result<Data<'a>> {
        self.expect(b'{')?;
        let mut members = Vec::new();
        while self.more(members.is_empty(), b'}')? {
            let key = self.key()?;
            members.push((key, self.value(depth + 1)?));
        }
        Ok(Data::Object(members))
    }

    fn list(&mut self, depth: usize) -> Result<Data<'a>> {
        self.expect(b'[')?;
        let mut values = Vec::new();
        while self.more(values.is_empty(), b']')? {
            values.push(self.value(depth + 1)?);
        }
        Ok(Data::List(values))
    }

    fn word(&mut self, word: &str, data: Data<'a>) -> Result<Data<'a>> {
        if self.text[self.at..].starts_with(word.as_bytes()) {
            self.at += word.len();
            return Ok(data);
        }
        Err(self.fault("no value"))
    }

    fn number(&mut self) -> &'a [u8] {
        let rest = &self.text[self.at..];
        let len = rest
            .iter()
            .position(|c| !matches!(c, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E'))
            .unwrap_or(rest.len());
        self.at += len;
        &rest[..len]
    }

    fn string(&mut self) -> Result<Cow<'a, [u8]>> {
        if self.text.get(self.at) != Some(&b'"') {
            return Err(self.fault("a string belongs here"));
        }
        self.at += 1;
        let rest = &self.text[self.at..];
        let plain = rest.iter().position(|&c| matches!(c, b'"' | b'\\') || c < 0x20).unwrap_or(rest.len());
        if rest.get(plain) == Some(&b'"') {
            self.at += plain + 1;
            return Ok(Cow::Borrowed(&rest[..plain]));
        }
        let mut out = rest[..plain].to_vec();
        self.at += plain;
        loop {
            match self.text.get(self.at) {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(Cow::Owned(out));
                }
                Some(b'\\') => self.escape(&mut out)?,
                Some(&c) if c >= 0x20 => {
                    out.push(c);
                    self.at += 1;
                }
                Some(_) => return Err(self.fault("a control character in a string")),
                None => return Err(self.fault("the text ends in a string")),
            }
        }
    }

    fn escape(&mut self, out: &mut Vec<u8>) -> Result<()> {
        let byte = match self.text.get(self.at + 1) {
            Some(b'n') => b'\n',
            Some(b'r') => b'\r',
            Some(b't') => b'\t',
            Some(b'b') => 8,
            Some(b'f') => 12,
            Some(&c @ (b'"' | b'\\' | b'/')) => c,
            Some(b'u') => return self.unicode(out),
            _ => return Err(self.fault("no escape")),
        };
        out.push(byte);
        self.at += 2;
        Ok(())
    }

    fn unicode(&mut self, out: &mut Vec<u8>) -> Result<()> {
        let high = self.unit(self.at).ok_or_else(|| self.fault("no escape"))?;
        let low = if matches!(high, 0xd800..=0xdbff) { self.unit(self.at + 6) } else { None };
        let (c, len) = match (high, low) {
            (0xd800..=0xdbff, Some(low @ 0xdc00..=0xdfff)) => {
                (char::from_u32(0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00)), 12)
            }
            // A byte that is no UTF-8.
            (0xdc80..=0xdcff, _) => {
                out.push((high - 0xdc00) as u8);
                self.at += 6;
                return Ok(());
            }
            _ => (char::from_u32(high), 6),
        };
        let c = c.ok_or_else(|| self.fault("half a surrogate pair"))?;
        out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
        self.at += len;
        Ok(())
    }

    /// The code unit of `\uXXXX` at this position.
    fn unit(&self, at: usize) -> Option<u32> {
        let digits = self.text.get(at..at + 6)?.strip_prefix(b"\\u")?;
        digits.iter().try_fold(0, |unit, &c| Some(unit << 4 | (c as char).to_digit(16)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn string(text: &str) -> Option<Vec<u8>> {
        match Parser::new(text.as_bytes()).value(0).ok()?.data {
            Data::String(s) => Some(s.into_owned()),
            _ => None,
        }
    }

    #[test]
    fn strings() {
        assert_eq!(string(r#""a\n\"\\\/b""#).unwrap(), b"a\n\"\\/b");
        assert_eq!(string(r#""\u00e4\ud83d\ude00""#).unwrap(), "ä😀".as_bytes());
        assert_eq!(string(r#""x\udcff\udc80""#).unwrap(), b"x\xff\x80");
        for bad in [r#""\ud83d""#, r#""\udc00""#, r#""\u12""#, r#""\x""#, "\"a", "\"\n\""] {
            assert_eq!(string(bad), None, "{bad}");
        }
    }

    #[test]
    fn deep_nesting_is_refused() {
        let deep = "[".repeat(100_000);
        assert!(Parser::new(deep.as_bytes()).value(0).is_err());
    }
}
