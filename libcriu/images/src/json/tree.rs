//! The sink that keeps what it is given: an image as a tree of values.

use std::borrow::Cow;
use std::io;

use super::parse::{Data, Value};
use super::sink::{Sink, base64_text};
use super::{Form, decode};
use crate::error::Result;

/// An image that can be looked through, changed and encoded again.
#[derive(Debug, Default)]
pub struct Tree {
    pretty: bool,
    payloads: bool,
    open: Vec<Open>,
    whole: Option<Value<'static>>,
}

#[derive(Debug)]
enum Open {
    Object(Vec<(Cow<'static, [u8]>, Value<'static>)>, Cow<'static, [u8]>),
    List(Vec<Value<'static>>),
}

impl Tree {
    /// The values of an image in memory, in either form; without `payloads`, their sizes alone.
    ///
    /// # Errors
    /// As [`super::decode()`].
    pub fn of(file: &str, image: &[u8], form: Form, payloads: bool) -> Result<Value<'static>> {
        let mut tree = Tree { pretty: form == Form::Pretty, payloads, ..Tree::default() };
        decode::walk(file, image, &mut tree)?;
        Ok(tree.whole.unwrap_or(Value { at: 0, data: Data::Null }))
    }

    fn put(&mut self, data: Data<'static>) {
        let value = Value { at: 0, data };
        match self.open.last_mut() {
            Some(Open::Object(members, key)) => members.push((std::mem::take(key), value)),
            Some(Open::List(values)) => values.push(value),
            None => self.whole = Some(value),
        }
    }

    fn put_key(&mut self, name: Cow<'static, [u8]>) {
        if let Some(Open::Object(_, key)) = self.open.last_mut() {
            *key = name;
        }
    }
}

impl Sink for Tree {
    fn pretty(&self) -> bool {
        self.pretty
    }

    fn payloads(&self) -> bool {
        self.payloads
    }

    fn open(&mut self, bracket: u8) {
        self.open.push(match bracket {
            b'{' => Open::Object(Vec::new(), Cow::Borrowed(b"")),
            _ => Open::List(Vec::new()),
        });
    }

    fn close(&mut self, _bracket: u8, _empty: bool) {
        match self.open.pop() {
            Some(Open::Object(members, _)) => self.put(Data::Object(members)),
            Some(Open::List(values)) => self.put(Data::List(values)),
            None => {}
        }
    }

    fn next(&mut self, _first: bool) -> io::Result<()> {
        Ok(())
    }

    fn key(&mut self, name: &'static str) {
        self.put_key(Cow::Borrowed(name.as_bytes()));
    }

    fn unknown_key(&mut self, number: u32) {
        self.put_key(Cow::Owned(format!("#{number}").into_bytes()));
    }

    fn unsigned(&mut self, value: u64) {
        self.put(Data::Integer(value.into()));
    }

    fn signed(&mut self, value: i64) {
        self.put(Data::Integer(value.into()));
    }

    fn hex(&mut self, negative: bool, value: u64) {
        let sign = if negative { "-" } else { "" };
        self.label(&format!("{sign}{value:#x}"));
    }

    fn bool(&mut self, value: bool) {
        self.put(Data::Bool(value));
    }

    fn label(&mut self, text: &str) {
        self.put(Data::String(Cow::Owned(text.as_bytes().to_vec())));
    }

    fn string(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.put(Data::String(Cow::Owned(bytes.to_vec())));
        Ok(())
    }

    fn base64(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.put(Data::String(Cow::Owned(base64_text(bytes))));
        Ok(())
    }

    fn fixed(&mut self, bits: u32, value: u64) {
        let name = format!("fixed{bits}").into_bytes();
        let value = Value { at: 0, data: Data::Integer(value.into()) };
        self.put(Data::Object(vec![(Cow::Owned(name), value)]));
    }
}
