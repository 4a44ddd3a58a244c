//! The `--json` output: values made from facts.

use std::borrow::Cow;

use criu_images::json::{Data, Form, Value, print};

use crate::failure::Result;
use crate::output;

pub(crate) type Json = Value<'static>;

pub(crate) fn text(text: impl AsRef<str>) -> Json {
    Value::new(Data::String(Cow::Owned(text.as_ref().as_bytes().to_vec())))
}

pub(crate) fn int(value: impl Into<i128>) -> Json {
    Value::new(Data::Integer(value.into()))
}

pub(crate) fn bool(value: bool) -> Json {
    Value::new(Data::Bool(value))
}

pub(crate) fn list(values: impl IntoIterator<Item = Json>) -> Json {
    Value::new(Data::List(values.into_iter().collect()))
}

pub(crate) fn object<const N: usize>(members: [(&'static str, Json); N]) -> Json {
    Value::new(Data::Object(members.into_iter().map(|(k, v)| (Cow::Borrowed(k.as_bytes()), v)).collect()))
}

/// Prints a value on standard output.
pub(crate) fn show(value: &Json) -> Result<()> {
    output::write(None, true, |out| Ok(print(value, Form::Pretty, out)?))
}
