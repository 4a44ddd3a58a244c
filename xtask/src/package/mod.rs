//! `package [--out DIR] [KIND...]`: Debian packages, wheels, and a source archive that builds without a network.

mod cinstall;
mod debian;
mod source;
mod tree;
pub mod trial;
mod wheel;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::install;
use crate::workspace::Workspace;

pub const KINDS: [&str; 3] = ["deb", "wheel", "source"];

/// The version of what is packaged, as CRIU counts: 4.2.0.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

pub fn command(workspace: &Workspace, args: &[String]) -> Result<(), String> {
    let mut out = workspace.target.join("package");
    let mut kinds: Vec<&str> = Vec::new();
    let mut rest = args.iter();
    while let Some(arg) = rest.next() {
        match arg.as_str() {
            "--out" => out = rest.next().ok_or("--out needs a folder")?.into(),
            kind if KINDS.contains(&kind) => kinds.push(kind),
            other => return Err(format!("package: unknown argument {other}")),
        }
    }
    if kinds.is_empty() {
        kinds.extend(KINDS);
    }
    let out = std::path::absolute(&out).map_err(|e| e.to_string())?;
    for file in build(workspace, &out, &kinds)? {
        println!("{}", file.display());
    }
    Ok(())
}

/// Makes what is asked for in `out`, which need not exist.
pub fn build(workspace: &Workspace, out: &Path, kinds: &[&str]) -> Result<Vec<PathBuf>, String> {
    fs::create_dir_all(out).map_err(|e| format!("{}: {e}", out.display()))?;
    let wants = |kind: &str| kinds.contains(&kind);
    let mut made = Vec::new();
    let mut wheels = Vec::new();
    if wants("wheel") || wants("deb") {
        wheels = wheel::build(workspace, out)?;
    }
    if wants("deb") {
        workspace.build_release()?;
        let staged = fresh(&out.join("staged"))?;
        let place = install::Place { prefix: "/usr".into(), destdir: staged.clone() };
        install::files(workspace, &place)?;
        made.extend(debian::build(workspace, &staged.join("usr"), &wheels, out)?);
        fs::remove_dir_all(&staged).map_err(|e| format!("{}: {e}", staged.display()))?;
    }
    made.extend(wheels);
    if wants("source") {
        made.push(source::build(workspace, out)?);
    }
    Ok(made)
}

/// An empty folder of this name.
fn fresh(folder: &Path) -> Result<PathBuf, String> {
    let _ = fs::remove_dir_all(folder);
    fs::create_dir_all(folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    Ok(folder.into())
}

/// What a command prints.
fn output(command: &mut Command) -> Result<String, String> {
    let shown = format!("{:?}", command.get_program());
    let out = command.output().map_err(|e| format!("{shown}: {e}"))?;
    if !out.status.success() {
        return Err(format!("{shown}: {}: {}", out.status, String::from_utf8_lossy(&out.stderr)));
    }
    Ok(String::from_utf8_lossy(&out.stdout).into_owned())
}

/// A command that says nothing when it succeeds.
fn quiet(command: &mut Command) -> Result<(), String> {
    output(command).map(drop)
}
