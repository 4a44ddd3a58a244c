//! `crit edit`: changes facts of images before a restore. Everything is checked before anything is written.

mod everywhere;
mod field;

use std::ffi::OsStr;
use std::path::Path;

use criu_images::json::{Data, Encoder, Form, Tree, Value};

use crate::args::Args;
use crate::failure::{Failure, Result};
use crate::input::Input;
use crate::json::{self, int, object, text};
use crate::output;

pub(crate) fn run(args: Args) -> Result<u8> {
    let Some((target, assignments)) = args.operands.split_first() else {
        return Err(args.usage("takes FILE or DIR"));
    };
    if Path::new(target).is_dir() {
        if !assignments.is_empty() {
            return Err(args.usage("fields are changed in one image: name its file"));
        }
        return everywhere::run(&args, Path::new(target));
    }
    if assignments.is_empty() || ["pid", "path", "address"].iter().any(|o| args.has(o)) {
        return Err(args.usage("takes FILE FIELD=VALUE..., or DIR with --pid, --path or --address"));
    }
    let image = Input::read(Some(target))?;
    let mut tree = Tree::of(&image.name, &image.bytes, Form::Pretty, true).map_err(|e| image.failure(e))?;
    let mut changed = 0u64;
    for assignment in assignments {
        changed += field::assign(&mut tree, &assignment.to_string_lossy()).map_err(|what| args.usage(&what))?;
    }
    let edited = encode(&tree).map_err(|reason| Failure::Said(format!("{}: {reason}", image.name)))?;
    save(args.get("out").unwrap_or(target), &edited)?;
    report(&args, changed)
}

fn report(args: &Args, changed: u64) -> Result<u8> {
    if args.has("json") {
        json::show(&object([("changed", int(changed)), ("status", text("done"))]))?;
    } else {
        output::print(&format!("{changed} changed\n"))?;
    }
    Ok(0)
}

/// The image of a tree; in words when it is none.
fn encode(tree: &Value<'_>) -> std::result::Result<Vec<u8>, String> {
    let (Some(Data::String(magic)), Some(Data::List(entries))) =
        (tree.get("magic").map(|v| &v.data), tree.get("entries").map(|v| &v.data))
    else {
        return Err("magic and entries stay what they are".to_owned());
    };
    let mut encoder = Encoder::new(&String::from_utf8_lossy(magic)).map_err(|e| e.to_string())?;
    for (i, entry) in entries.iter().enumerate() {
        encoder.entry(entry).map_err(|e| format!("entries[{i}]: {e}"))?;
    }
    Ok(encoder.finish())
}

fn save(path: &OsStr, bytes: &[u8]) -> Result<()> {
    output::write(Some(path), false, |out| {
        let failed = |source| Failure::Write { file: path.to_string_lossy().into_owned(), source };
        out.write_all(bytes).map_err(failed)
    })
}
