//! The source archive: every file under version control, and the crates it needs, so that it builds without a network.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::{VERSION, fresh, output, quiet};
use crate::workspace::Workspace;

pub(super) fn build(workspace: &Workspace, out: &Path) -> Result<PathBuf, String> {
    let name = format!("libcriu-{VERSION}");
    let folder = fresh(&out.join(&name))?;
    checked_in(workspace, &folder)?;
    vendor(workspace, &folder)?;
    let archive = out.join(format!("{name}.tar.gz"));
    // The same sources give the same archive.
    let time = output(git(workspace).args(["log", "-1", "--format=%ct"]))?;
    let mut tar = Command::new("tar");
    tar.args([
        "--create",
        "--use-compress-program=gzip -n",
        "--sort=name",
        "--owner=0",
        "--group=0",
        "--numeric-owner",
        "--format=gnu",
    ]);
    tar.arg(format!("--mtime=@{}", time.trim())).arg("--file").arg(&archive).arg("--directory").arg(out).arg(&name);
    quiet(&mut tar)?;
    fs::remove_dir_all(&folder).map_err(|e| e.to_string())?;
    Ok(archive)
}

fn git(workspace: &Workspace) -> Command {
    let mut git = Command::new("git");
    git.arg("-C").arg(&workspace.root);
    git
}

fn checked_in(workspace: &Workspace, to: &Path) -> Result<(), String> {
    let mut list = git(workspace)
        .args(["ls-files", "-z"])
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|e| format!("git ls-files: {e}"))?;
    let names = list.stdout.take().ok_or("git ls-files has no output")?;
    let mut copy = Command::new("sh");
    copy.args(["-c", "tar --null --files-from=- --create | tar --extract --directory \"$0\""]).arg(to);
    quiet(copy.current_dir(&workspace.root).stdin(Stdio::from(names)))?;
    let listed = list.wait().map_err(|e| e.to_string())?;
    if listed.success() { Ok(()) } else { Err(format!("git ls-files: {listed}")) }
}

/// Crates go to `vendor/`; what cargo says has to be configured for that is added to the configuration that is there.
fn vendor(workspace: &Workspace, to: &Path) -> Result<(), String> {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["vendor", "--locked", "--versioned-dirs", "vendor"]).current_dir(to);
    let config = output(cargo.env("CARGO_TARGET_DIR", &workspace.target))?;
    let file = to.join(".cargo/config.toml");
    let own = fs::read_to_string(&file).unwrap_or_default();
    fs::write(&file, format!("{own}\n{config}")).map_err(|e| format!("{}: {e}", file.display()))
}
