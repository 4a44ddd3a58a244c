//! The wheels of pycriu and crit, built in a virtual environment of their own.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{fresh, quiet};
use crate::workspace::Workspace;

/// Where the build tools are installed; kept for the next time.
fn environment(workspace: &Workspace) -> Result<PathBuf, String> {
    let venv = workspace.target.join("package-venv");
    if !venv.join("bin/maturin").exists() {
        println!("installing into {}: maturin, setuptools", venv.display());
        quiet(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&venv))?;
        let mut pip = Command::new(venv.join("bin/pip"));
        quiet(pip.args(["--quiet", "--disable-pip-version-check", "install", "maturin>=1.7,<2", "setuptools>=70.1"]))?;
    }
    Ok(venv)
}

pub(super) fn build(workspace: &Workspace, out: &Path) -> Result<Vec<PathBuf>, String> {
    let venv = environment(workspace)?;
    let made = fresh(&out.join("wheels"))?;
    let python = workspace.root.join("python");
    // setuptools writes beside its sources.
    let copy = out.join("crit-source");
    let _ = fs::remove_dir_all(&copy);
    quiet(Command::new("cp").arg("-r").arg(python.join("crit")).arg(&copy))?;
    let path = std::env::var("PATH").unwrap_or_default();
    for source in [&python, &copy] {
        let mut pip = Command::new(venv.join("bin/pip"));
        pip.args([
            "--quiet",
            "--disable-pip-version-check",
            "wheel",
            "--no-build-isolation",
            "--no-deps",
            "--wheel-dir",
        ]);
        pip.arg(&made).arg(source).env("PATH", format!("{}:{path}", venv.join("bin").display()));
        quiet(pip.env("CARGO_TARGET_DIR", &workspace.target))?;
    }
    fs::remove_dir_all(&copy).map_err(|e| e.to_string())?;
    let mut wheels = Vec::new();
    for wheel in fs::read_dir(&made).map_err(|e| e.to_string())?.flatten() {
        let to = out.join(wheel.file_name());
        fs::rename(wheel.path(), &to).map_err(|e| format!("{}: {e}", to.display()))?;
        wheels.push(to);
    }
    fs::remove_dir(&made).map_err(|e| e.to_string())?;
    wheels.sort();
    Ok(wheels)
}
