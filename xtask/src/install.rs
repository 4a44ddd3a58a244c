//! `install --prefix P --destdir D`: the files of an installation, in the places where CRIU has them.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use crate::document;
use crate::workspace::Workspace;

/// Where to: everything goes to `destdir + prefix`, and criu.pc names `prefix`.
#[derive(Clone, Debug)]
pub struct Place {
    pub prefix: PathBuf,
    pub destdir: PathBuf,
}

impl Place {
    fn at(&self, below: &str) -> PathBuf {
        let prefix = self.prefix.strip_prefix("/").unwrap_or(&self.prefix);
        self.destdir.join(prefix).join(below)
    }
}

pub fn run(workspace: &Workspace, args: &[String]) -> Result<(), String> {
    let mut place = Place { prefix: "/usr/local".into(), destdir: "/".into() };
    let mut rest = args.iter();
    while let Some(arg) = rest.next() {
        let (name, value) = match arg.split_once('=') {
            Some((n, v)) => (n, v.to_string()),
            None => (arg.as_str(), rest.next().cloned().ok_or_else(|| format!("{arg} needs a value"))?),
        };
        match name {
            "--prefix" => place.prefix = value.into(),
            "--destdir" => place.destdir = value.into(),
            other => return Err(format!("install: unknown argument {other}")),
        }
    }
    if !place.prefix.is_absolute() {
        return Err(format!("install: the prefix must be an absolute path, not {}", place.prefix.display()));
    }
    workspace.build_release()?;
    for path in files(workspace, &place)? {
        println!("{}", path.display());
    }
    Ok(())
}

/// Copies a finished release build into `place` and returns what was written.
pub fn files(workspace: &Workspace, place: &Place) -> Result<Vec<PathBuf>, String> {
    let built = workspace.target.join("release");
    let mut done = Vec::new();
    let lib = place.at("lib");
    done.push(copy(&built.join("libcriu.so"), &lib.join("libcriu.so.2.0"), 0o755)?);
    for link in ["libcriu.so.2", "libcriu.so"] {
        done.push(link_to("libcriu.so.2.0", &lib.join(link))?);
    }
    done.push(copy(&built.join("libcriu.a"), &lib.join("libcriu.a"), 0o644)?);
    done.push(copy(&built.join("criu"), &place.at("sbin/criu"), 0o755)?);
    for library in ["libsoccr.so", "libsoccr.a"] {
        let mode = if library.ends_with(".so") { 0o755 } else { 0o644 };
        done.push(copy(&built.join(library), &lib.join(library), mode)?);
    }
    for library in ["criu", "soccr"] {
        let folder = format!("include/{library}");
        let headers = fs::read_dir(workspace.root.join(&folder)).map_err(|e| format!("{folder}: {e}"))?;
        for header in headers.flatten() {
            done.push(copy(&header.path(), &place.at(&folder).join(header.file_name()), 0o644)?);
        }
        done.push(pkg_config(workspace, place, library)?);
    }
    for page in document::pages(workspace)? {
        let to = place.at(page.path);
        make_folder(&to)?;
        fs::write(&to, page.text).map_err(|e| format!("{}: {e}", to.display()))?;
        done.push(to);
    }
    Ok(done)
}

/// criu.pc or soccr.pc with the prefix filled in.
fn pkg_config(workspace: &Workspace, place: &Place, library: &str) -> Result<PathBuf, String> {
    let template = workspace.root.join(format!("pkgconfig/{library}.pc.in"));
    let text = fs::read_to_string(&template).map_err(|e| format!("{}: {e}", template.display()))?;
    let text = text
        .replace("@PREFIX@", &place.prefix.display().to_string())
        .replace("@VERSION@", env!("CARGO_PKG_VERSION").trim_end_matches(".0"));
    let to = place.at("lib/pkgconfig").join(format!("{library}.pc"));
    make_folder(&to)?;
    fs::write(&to, text).map_err(|e| format!("{}: {e}", to.display()))?;
    Ok(to)
}

fn make_folder(file: &Path) -> Result<(), String> {
    let folder = file.parent().unwrap_or(Path::new("/"));
    fs::create_dir_all(folder).map_err(|e| format!("{}: {e}", folder.display()))
}

/// A new file under the name: a running program keeps the old one.
fn copy(from: &Path, to: &Path, mode: u32) -> Result<PathBuf, String> {
    make_folder(to)?;
    let _ = fs::remove_file(to);
    fs::copy(from, to).map_err(|e| format!("{} -> {}: {e}", from.display(), to.display()))?;
    fs::set_permissions(to, fs::Permissions::from_mode(mode)).map_err(|e| format!("{}: {e}", to.display()))?;
    Ok(to.into())
}

fn link_to(target: &str, link: &Path) -> Result<PathBuf, String> {
    let _ = fs::remove_file(link);
    symlink(target, link).map_err(|e| format!("{}: {e}", link.display()))?;
    Ok(link.into())
}

/// A fresh release build in `target/stage`, for tests, demo and bench.
pub fn stage(workspace: &Workspace) -> Result<(), String> {
    workspace.build_release()?;
    let place = Place { prefix: workspace.target.join("stage"), destdir: "/".into() };
    files(workspace, &place).map(|_| ())
}
