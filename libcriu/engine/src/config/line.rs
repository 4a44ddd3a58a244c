//! One line of a config file: `name`, `name value`, `name = "a value"`, `# comment`.

use std::iter::Peekable;
use std::str::Chars;

/// The name and the value, if any; nothing for an empty line or a comment.
pub(super) fn split(line: &str) -> Result<Option<(String, Option<String>)>, String> {
    if let Some(c) = line.chars().find(|c| c.is_control() && !matches!(c, '\t' | '\r')) {
        return Err(format!("a control character ({c:?})"));
    }
    let mut chars = line.chars().peekable();
    skip_space(&mut chars);
    if matches!(chars.peek(), None | Some('#')) {
        return Ok(None);
    }
    let name = take_name(&mut chars);
    if name.is_empty() {
        return Err("the line does not begin with an option's name".into());
    }
    if name.starts_with('-') {
        return Err(format!("`{name}`: option names stand without dashes here"));
    }
    let spaced = skip_space(&mut chars);
    let equals = chars.next_if_eq(&'=').is_some();
    if equals {
        skip_space(&mut chars);
    }
    let value = match chars.peek() {
        None if equals => return Err(format!("`{name}`: no value after `=`")),
        None => None,
        Some('#') if spaced && !equals => return Ok(Some((name, None))),
        Some('"') => Some(quoted(&mut chars)?),
        Some(_) => Some(plain(&mut chars)),
    };
    let spaced = skip_space(&mut chars);
    match chars.peek() {
        None => Ok(Some((name, value))),
        Some('#') if spaced => Ok(Some((name, value))),
        Some(_) => Err(format!("`{name}`: more text after the value; put double quotes around a value with spaces")),
    }
}

/// Skips white space; true when there was some.
fn skip_space(chars: &mut Peekable<Chars<'_>>) -> bool {
    let mut any = false;
    while chars.next_if(|c| c.is_whitespace()).is_some() {
        any = true;
    }
    any
}

fn take_name(chars: &mut Peekable<Chars<'_>>) -> String {
    let mut name = String::new();
    while let Some(c) = chars.next_if(|&c| !c.is_whitespace() && c != '=' && c != '#' && c != '"') {
        name.push(c);
    }
    name
}

/// Up to the next white space.
fn plain(chars: &mut Peekable<Chars<'_>>) -> String {
    let mut value = String::new();
    while let Some(c) = chars.next_if(|c| !c.is_whitespace()) {
        value.push(c);
    }
    value
}

/// Between double quotes; `\"` stands for a quote, `\\` for a backslash, any other backslash for itself.
fn quoted(chars: &mut Peekable<Chars<'_>>) -> Result<String, String> {
    chars.next();
    let mut value = String::new();
    loop {
        match chars.next() {
            None => return Err("a double quote is not closed".into()),
            Some('"') => return Ok(value),
            Some('\\') => value.push(chars.next_if(|c| matches!(c, '"' | '\\')).unwrap_or('\\')),
            Some(c) => value.push(c),
        }
    }
}
