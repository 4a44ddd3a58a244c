//! What mutations begin with: `fuzz/corpus/FAMILY`, and for images the golden checkpoints.

use std::fs;
use std::path::{Path, PathBuf};

/// Larger images have nothing that smaller ones have not.
const MAX_IMAGE_BYTES: u64 = 8 << 10;

/// Every input of a family, in a fixed order; never none.
pub fn load(family: &str) -> Vec<Vec<u8>> {
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut inputs: Vec<Vec<u8>> =
        files(&fuzz.join("corpus").join(family)).iter().filter_map(|p| fs::read(p).ok()).collect();
    if family == "images" {
        inputs.extend(files(&fuzz.join("../tests/golden")).iter().filter_map(|p| image(p)));
    }
    if inputs.is_empty() {
        inputs.push(Vec::new());
    }
    inputs
}

/// An image as the family takes it.
fn image(path: &Path) -> Option<Vec<u8>> {
    let name = path.file_name()?.to_str().filter(|n| n.ends_with(".img"))?;
    if fs::metadata(path).ok()?.len() > MAX_IMAGE_BYTES {
        return None;
    }
    Some([name.as_bytes(), b"\n", &fs::read(path).ok()?].concat())
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.push(path);
        }
    }
    found.sort();
    found
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_family_has_something_to_begin_with() {
        for family in crate::FAMILIES {
            assert!(super::load(family.name).iter().any(|i| !i.is_empty()), "{}", family.name);
        }
    }
}
