//! The files of one package, gathered from an installation.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use super::quiet;

/// A folder that becomes the root of a file system.
#[derive(Debug)]
pub(super) struct Tree {
    pub(super) root: PathBuf,
}

fn failed(path: &Path) -> impl FnOnce(std::io::Error) -> String {
    let path = path.display().to_string();
    move |e| format!("{path}: {e}")
}

impl Tree {
    /// Copies a file, a link, or a folder with all that is in it.
    pub(super) fn add(&self, from: &Path, to: &str) -> Result<(), String> {
        let target = self.place(to)?;
        let meta = fs::symlink_metadata(from).map_err(failed(from))?;
        if meta.is_symlink() {
            symlink(fs::read_link(from).map_err(failed(from))?, &target).map_err(failed(&target))
        } else if meta.is_dir() {
            let entries = fs::read_dir(from).map_err(failed(from))?;
            entries
                .flatten()
                .try_for_each(|e| self.add(&e.path(), &format!("{to}/{}", e.file_name().to_string_lossy())))
        } else {
            fs::copy(from, &target).map_err(failed(from))?;
            let mode = if meta.permissions().mode() & 0o111 != 0 { 0o755 } else { 0o644 };
            fs::set_permissions(&target, fs::Permissions::from_mode(mode)).map_err(failed(&target))
        }
    }

    pub(super) fn write(&self, to: &str, text: &str, mode: u32) -> Result<(), String> {
        let target = self.place(to)?;
        fs::write(&target, text).map_err(failed(&target))?;
        fs::set_permissions(&target, fs::Permissions::from_mode(mode)).map_err(failed(&target))
    }

    fn place(&self, to: &str) -> Result<PathBuf, String> {
        let target = self.root.join(to);
        let folder = target.parent().unwrap_or(&self.root);
        fs::create_dir_all(folder).map_err(failed(folder))?;
        Ok(target)
    }

    /// Without what only a debugger reads.
    pub(super) fn strip(&self, file: &str) -> Result<(), String> {
        let what = if file.ends_with(".a") { "--strip-debug" } else { "--strip-unneeded" };
        quiet(Command::new("strip").arg(what).arg(self.root.join(file)))
    }

    /// As the distribution wants manuals and changelogs; the same input gives the same bytes.
    pub(super) fn compress(&self, file: &str) -> Result<(), String> {
        quiet(Command::new("gzip").args(["-9", "-n", "-f"]).arg(self.root.join(file)))
    }

    /// Every regular file, relative to the root, sorted.
    pub(super) fn files(&self) -> Result<Vec<PathBuf>, String> {
        let (mut found, mut folders) = (Vec::new(), vec![self.root.clone()]);
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(&folder).map_err(failed(&folder))?.flatten() {
                let kind = entry.file_type().map_err(failed(&entry.path()))?;
                if kind.is_dir() {
                    folders.push(entry.path());
                } else if kind.is_file() {
                    found.push(entry.path().strip_prefix(&self.root).unwrap_or(&entry.path()).to_path_buf());
                }
            }
        }
        found.sort();
        Ok(found)
    }

    /// In KiB.
    pub(super) fn size(&self) -> Result<u64, String> {
        let files = self.files()?;
        Ok(files.iter().filter_map(|f| fs::metadata(self.root.join(f)).ok()).map(|m| m.len().div_ceil(1024)).sum())
    }
}
