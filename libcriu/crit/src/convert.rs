//! Images to JSON and back: `decode`, `encode`, `show`, `info`.

use criu_images::json::{self, Form, Tree};

use crate::args::Args;
use crate::failure::{Failure, Result};
use crate::input::Input;
use crate::output;

pub(crate) fn decode(args: Args) -> Result<u8> {
    args.exactly([])?;
    let form = if args.has("pretty") { Form::Pretty } else { Form::Compact };
    let image = Input::read(args.get("in"))?;
    output::write(args.get("out"), true, |out| {
        json::decode(&image.name, &image.bytes, form, out).map_err(|e| image.failure(e))
    })?;
    Ok(0)
}

pub(crate) fn encode(args: Args) -> Result<u8> {
    args.exactly([])?;
    let text = Input::read(args.get("in"))?;
    let image = json::encode(&text.name, &text.bytes)?;
    output::write(args.get("out"), false, |out| {
        let file = || args.get("out").unwrap_or_default().to_string_lossy().into_owned();
        out.write_all(&image).map_err(|source| Failure::Write { file: file(), source })
    })?;
    Ok(0)
}

pub(crate) fn show(args: Args) -> Result<u8> {
    let [file] = args.exactly(["FILE"])?;
    let image = Input::read(Some(file))?;
    output::write(None, true, |out| {
        let shown = if args.has("nopl") {
            let tree = Tree::of(&image.name, &image.bytes, Form::Pretty, false);
            tree.and_then(|t| json::print(&t, Form::Pretty, out))
        } else {
            json::decode(&image.name, &image.bytes, Form::Pretty, out)
        };
        shown.map_err(|e| image.failure(e))
    })?;
    Ok(0)
}

pub(crate) fn info(args: Args) -> Result<u8> {
    let [file] = args.exactly(["FILE"])?;
    let image = Input::read(Some(file))?;
    let (kind, count) = json::count(&image.name, &image.bytes).map_err(|e| image.failure(e))?;
    output::print(&format!("{{\n    \"magic\": \"{}\",\n    \"count\": {count}\n}}\n", kind.name()))?;
    Ok(0)
}
