//! Image to JSON: one walk over the wire format, straight to text or to whatever else takes the values.

use std::io::{self, Write};

use super::fields::{Context, print_fields, print_message};
use super::print::Printer;
use super::sink::{Nothing, Sink};
use super::{Form, extra_decode};
use crate::error::{ImageError, Result};
use crate::kind::{COMMON_MAGIC, Kind, SERVICE_MAGIC};
use crate::layout::Layout;
use crate::schema::Message;
use crate::wire::{self, Cursor, Fault};

/// Why the walk stopped.
#[derive(Debug)]
pub(super) enum Stop {
    Fault(Fault),
    Write(io::Error),
}

impl Stop {
    fn at(self, file: &str) -> ImageError {
        match self {
            Stop::Fault(Fault { offset, reason }) => ImageError::Corrupt { file: file.to_owned(), offset, reason },
            Stop::Write(source) => ImageError::Io { file: file.to_owned(), call: "write", source },
        }
    }
}

impl From<Fault> for Stop {
    fn from(fault: Fault) -> Self {
        Stop::Fault(fault)
    }
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        Stop::Write(error)
    }
}

pub(super) type Walk<T = ()> = std::result::Result<T, Stop>;

/// Prints an image that is in memory as JSON, without a final newline. `file` names it in errors, and tells page files
/// of the oldest format from pagemaps, whose magic they share.
///
/// Memory: a piece of the output; nothing that an image announces is allocated.
///
/// # Errors
///
/// [`ImageError::Corrupt`] with the offset for an unknown or raw file, a cut-off or lying length, a message that breaks
/// its schema; [`ImageError::Io`] when `out` does.
pub fn decode(file: &str, image: &[u8], form: Form, out: &mut dyn Write) -> Result<()> {
    let mut printer = Printer::new(form, out);
    let walked = print_image(file, Cursor::new(image, 0), &mut printer).and_then(|()| Ok(printer.finish()?));
    walked.map_err(|stop| stop.at(file))
}

/// Hands the values of an image that is in memory to `sink`, as [`decode`] would print them.
///
/// # Errors
///
/// As [`decode`]; [`ImageError::Io`] when the sink fails.
pub fn walk(file: &str, image: &[u8], sink: &mut impl Sink) -> Result<()> {
    print_image(file, Cursor::new(image, 0), sink).map_err(|stop| stop.at(file))
}

/// Hands the values of one message in wire format to `sink`; with `hex`, numbers as the display option says.
///
/// # Errors
///
/// As [`walk`]; offsets count from the start of the message. A `name` that no message has is [`ImageError::Missing`].
pub fn walk_message(name: &str, bytes: &[u8], hex: bool, sink: &mut impl Sink) -> Result<()> {
    let message = Message::by_name(name).ok_or_else(|| ImageError::Missing { file: format!("message {name}") })?;
    print_message(sink, message, Cursor::new(bytes, 0), Context { hex, depth: 0 }).map_err(|stop| stop.at(name))
}

/// The kind of an image in memory and how many entries it has.
///
/// # Errors
///
/// As [`decode`].
pub fn count(file: &str, image: &[u8]) -> Result<(Kind, u64)> {
    let mut cursor = Cursor::new(image, 0);
    let kind = read_magic(file, &mut cursor).map_err(|f| Stop::from(f).at(file))?;
    let mut entries = 0;
    print_entries(kind, &mut cursor, |layout, first, image| {
        entries += 1;
        print_entry(&mut Nothing, layout, first, image)
    })
    .map_err(|stop| stop.at(file))?;
    Ok((kind, entries))
}

fn print_image(file: &str, mut image: Cursor<'_>, p: &mut impl Sink) -> Walk {
    let kind = read_magic(file, &mut image)?;
    p.open(b'{');
    p.next(true)?;
    p.key("magic");
    p.name(kind.name());
    p.next(false)?;
    p.key("entries");
    p.open(b'[');
    let mut empty = true;
    print_entries(kind, &mut image, |layout, first, image| {
        empty = false;
        p.next(first)?;
        print_entry(p, layout, first, image)
    })?;
    p.close(b']', empty);
    p.close(b'}', false);
    Ok(())
}

fn print_entries<'a>(
    kind: Kind,
    image: &mut Cursor<'a>,
    mut print: impl FnMut(&Layout, bool, &mut Cursor<'a>) -> Walk,
) -> Walk {
    let layout = Layout::of(kind).ok_or_else(|| image.fault(format!("{kind} has no entries")))?;
    let mut first = true;
    while !image.is_empty() {
        print(&layout, first, image)?;
        first = false;
    }
    Ok(())
}

/// The kind by its magics, the cursor behind them.
fn read_magic(file: &str, image: &mut Cursor<'_>) -> wire::Result<Kind> {
    let start = *image;
    let lead = image.u32().map_err(|_| start.fault("too short for a magic"))?;
    let (at, magic) = match lead {
        COMMON_MAGIC | SERVICE_MAGIC => {
            let at = *image;
            (at, image.u32().map_err(|_| at.fault("too short for the type's magic"))?)
        }
        // The inventory and images of version 1 have no other.
        own => (start, own),
    };
    let kind = Kind::by_magic(magic).ok_or_else(|| at.fault(format!("magic {magic:#x} is of no image")))?;
    let misled = match lead {
        COMMON_MAGIC => kind.is_service(),
        SERVICE_MAGIC => !kind.is_service(),
        _ => false,
    };
    if misled {
        return Err(start.fault(format!("magic {lead:#x} does not go with {kind}")));
    }
    Ok(kind.told_by_name(file))
}

fn print_entry(p: &mut impl Sink, layout: &Layout, first: bool, image: &mut Cursor<'_>) -> Walk {
    let (message, payload) = layout.entry(first);
    let body = read_entry(image)?;
    p.open(b'{');
    let mut empty = true;
    print_fields(p, message, body, Context::default(), &mut empty)?;
    extra_decode::print(p, payload, body, image, &mut empty)?;
    p.close(b'}', empty);
    Ok(())
}

/// The body of the next entry.
pub(super) fn read_entry<'a>(image: &mut Cursor<'a>) -> wire::Result<Cursor<'a>> {
    let start = *image;
    let len = image.u32().map_err(|_| start.fault(format!("{} stray bytes at the end", start.rest().len())))?;
    image.part(u64::from(len)).map_err(|f| start.fault(format!("an entry of {len} bytes, {}", left(&f))))
}

fn left(fault: &Fault) -> &str {
    fault.reason.split_once(", ").map_or(fault.reason.as_str(), |(_, left)| left)
}
