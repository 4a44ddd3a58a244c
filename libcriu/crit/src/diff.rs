//! `crit diff A B`: what differs between two images or two checkpoints.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use criu_images::json::{Data, Form, Tree, Value, print};

use crate::args::Args;
use crate::failure::{Failure, Result};
use crate::input::Input;
use crate::json::{self, Json, list, object, text};
use crate::output;

/// One difference: where, and what stands on either side (nothing on one where it is not there).
struct Difference {
    file: String,
    at: String,
    sides: [Option<String>; 2],
}

pub(crate) fn run(args: Args) -> Result<u8> {
    let [a, b] = args.exactly(["A", "B"])?;
    let (a, b) = (Path::new(a), Path::new(b));
    let mut found = Vec::new();
    if a.is_dir() && b.is_dir() {
        let names: BTreeSet<_> = images_of(a)?.into_iter().chain(images_of(b)?).collect();
        for name in names {
            compare(&name, [&a.join(OsStr::from_bytes(name.as_bytes())), &b.join(&name)], &mut found)?;
        }
    } else {
        compare(&a.file_name().unwrap_or_default().to_string_lossy(), [a, b], &mut found)?;
    }
    if args.has("json") {
        json::show(&list(found.iter().map(as_json)))?
    } else {
        output::print(&lines(&found))?
    }
    Ok(u8::from(!found.is_empty()))
}

/// The images of a directory: everything else there (logs, statistics of a run) is none of the checkpoint's.
fn images_of(dir: &Path) -> Result<Vec<String>> {
    let failed = |source| Failure::Read { file: dir.display().to_string(), source };
    let mut names = Vec::new();
    for entry in fs::read_dir(dir).map_err(failed)? {
        let name = entry.map_err(failed)?.file_name().to_string_lossy().into_owned();
        if name.ends_with(".img") {
            names.push(name);
        }
    }
    Ok(names)
}

fn compare(name: &str, paths: [&Path; 2], found: &mut Vec<Difference>) -> Result<()> {
    let whole = |sides: [Option<&str>; 2]| Difference {
        file: name.to_owned(),
        at: String::new(),
        sides: sides.map(|s| s.map(str::to_owned)),
    };
    match paths.map(Path::exists) {
        [true, false] => found.push(whole([Some("the image"), None])),
        [false, true] => found.push(whole([None, Some("the image")])),
        _ => {
            let [a, b] = [Input::read(Some(paths[0].as_os_str()))?, Input::read(Some(paths[1].as_os_str()))?];
            if a.bytes == b.bytes {
                return Ok(());
            }
            let tree = |i: &Input| Tree::of(&i.name, &i.bytes, Form::Pretty, true).map_err(|e| i.failure(e));
            match (tree(&a), tree(&b)) {
                (Ok(a), Ok(b)) => walk(name, String::new(), Some(&a), Some(&b), found),
                (Err(Failure::Magic { .. }), Err(Failure::Magic { .. })) => found.push(raw(name, &a.bytes, &b.bytes)),
                (Err(e), _) | (_, Err(e)) => return Err(e),
            }
        }
    }
    Ok(())
}

const PAGE: usize = 4096;

fn raw(name: &str, a: &[u8], b: &[u8]) -> Difference {
    let differing = a.chunks(PAGE).zip(b.chunks(PAGE)).filter(|(x, y)| x != y).count();
    let at = format!("{differing} pages differ");
    Difference { file: name.to_owned(), at, sides: [a, b].map(|s| Some(format!("{} bytes", s.len()))) }
}

fn walk(file: &str, at: String, a: Option<&Value<'_>>, b: Option<&Value<'_>>, found: &mut Vec<Difference>) {
    match (a.map(|v| &v.data), b.map(|v| &v.data)) {
        (Some(Data::Object(x)), Some(Data::Object(y))) => {
            let keys: BTreeSet<_> = x.iter().chain(y).map(|m| String::from_utf8_lossy(&m.0)).collect();
            for key in keys {
                let at = if at.is_empty() { key.to_string() } else { format!("{at}.{key}") };
                walk(file, at, a.and_then(|v| v.get(&key)), b.and_then(|v| v.get(&key)), found);
            }
        }
        (Some(Data::List(x)), Some(Data::List(y))) => {
            for i in 0..x.len().max(y.len()) {
                walk(file, format!("{at}[{i}]"), x.get(i), y.get(i), found);
            }
        }
        _ => {
            let sides = [a, b].map(|v| v.map(shown));
            if sides[0] != sides[1] {
                found.push(Difference { file: file.to_owned(), at, sides });
            }
        }
    }
}

fn shown(value: &Value<'_>) -> String {
    let mut out = Vec::new();
    // Writing to memory does not fail.
    let _ = print(value, Form::Compact, &mut out);
    String::from_utf8_lossy(&out).into_owned()
}

const LONGEST: usize = 200;

fn lines(found: &[Difference]) -> String {
    let mut out = String::new();
    let mut file = "";
    for d in found {
        if d.file != file {
            file = &d.file;
            out += &format!("{file}\n");
        }
        let side = |s: &Option<String>| match s {
            None => "(nothing)".to_owned(),
            Some(s) if s.len() > LONGEST => format!("{}... ({} bytes)", s.get(..LONGEST).unwrap_or(""), s.len()),
            Some(s) => s.clone(),
        };
        let at = if d.at.is_empty() { String::new() } else { format!("{}: ", d.at) };
        out += &format!("    {at}{} -> {}\n", side(&d.sides[0]), side(&d.sides[1]));
    }
    if !found.is_empty() {
        out += &format!("{} differences\n", found.len());
    }
    out
}

fn as_json(d: &Difference) -> Json {
    let side = |s: &Option<String>| s.as_ref().map_or(Value::new(Data::Null), text);
    object([("file", text(&d.file)), ("at", text(&d.at)), ("a", side(&d.sides[0])), ("b", side(&d.sides[1]))])
}
