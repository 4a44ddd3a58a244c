//! Every image that a dump made becomes JSON and the same bytes again, in either form: what `crit` decodes, it encodes.

use std::fs;
use std::path::Path;

use criu_images::json::{Form, decode_to_string, encode};

use crate::verdict::{Outcome, failed};

/// Raw bytes, of no kind that has entries.
const RAW: &str = "pages-";

pub fn of(images: &Path) -> Outcome {
    for entry in fs::read_dir(images).map_err(failed)?.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let is_image = name.ends_with(".img") || name.starts_with("stats-");
        if !is_image || name.starts_with(RAW) {
            continue;
        }
        let bytes = fs::read(entry.path()).map_err(failed)?;
        for form in [Form::Pretty, Form::Compact] {
            let text = decode_to_string(&name, &bytes, form).map_err(failed)?;
            let again = encode(&name, text.as_bytes()).map_err(failed)?;
            if again != bytes {
                return Err(failed(format!("{name} is not the same after decode and encode ({form:?})")));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_damaged_image_is_named() {
        let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden/files");
        assert!(of(&golden).is_ok());
        let folder = tempfile::tempdir().unwrap();
        let whole = fs::read(golden.join("pstree.img")).unwrap();
        fs::write(folder.path().join("pstree.img"), &whole[..whole.len() - 1]).unwrap();
        assert!(format!("{:?}", of(folder.path())).contains("pstree.img"));
    }
}
