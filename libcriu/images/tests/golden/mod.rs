//! The golden checkpoints: every image with the JSON that belongs to it.

use std::fs;
use std::path::{Path, PathBuf};

/// An image and its pretty JSON; none for page files.
pub struct Golden {
    pub path: PathBuf,
    pub name: String,
    pub bytes: Vec<u8>,
    pub json: Option<String>,
}

pub fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden")
}

/// Every image of every golden checkpoint; never none.
pub fn images() -> Vec<Golden> {
    let mut found = Vec::new();
    for folder in fs::read_dir(directory()).unwrap() {
        let folder = folder.unwrap().path();
        if !folder.join("inventory.img").exists() {
            continue;
        }
        for file in fs::read_dir(&folder).unwrap() {
            let path = file.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            let Some(stem) = name.strip_suffix(".img") else { continue };
            let json = fs::read_to_string(folder.join("json").join(format!("{stem}.json"))).ok();
            assert!(json.is_some() || stem.starts_with("pages-"), "{} has no JSON", path.display());
            found.push(Golden { bytes: fs::read(&path).unwrap(), path, name, json });
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    assert!(found.len() > 200, "only {} golden images", found.len());
    found
}

/// Those that have a header and entries.
#[allow(dead_code, reason = "not every suite that has this module needs it")]
pub fn entries() -> impl Iterator<Item = Golden> {
    images().into_iter().filter(|g| g.json.is_some())
}
