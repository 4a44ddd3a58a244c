//! `cargo cinstall` (cargo-c): libraries, headers and pkg-config files as `cargo xtask install` gives them. What goes where
//! stands in the `package.metadata.capi` of the two C packages.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use criu_tests::build::find_command;
use criu_tests::verdict::{Outcome, Stop, failed};

use super::trial::against;
use super::{output, quiet};
use crate::workspace::Workspace;

/// The version that was tried with this workspace.
const CARGO_C: &str = "0.10.24";

pub(super) fn trial(workspace: &Workspace, room: &Path) -> Outcome {
    if find_command("cargo-cinstall").is_none() {
        return Err(Stop::Skipped(format!(
            "there is no cargo-cinstall: cargo install cargo-c --version {CARGO_C} --locked"
        )));
    }
    install(workspace, &room.join("cinstall")).map_err(failed)
}

fn install(workspace: &Workspace, root: &Path) -> Result<(), String> {
    let mut cargo = Workspace::bounded(900, "cargo");
    cargo.args(["cinstall", "--locked", "-p", "criu-capi", "-p", "criu-soccr-capi"]);
    cargo.args(["--prefix", "/usr", "--libdir", "lib", "--destdir"]).arg(root);
    // One that needs no optimisation to be looked at.
    cargo.args(["--debug", "--config", "profile.dev.opt-level=0", "--config", "profile.dev.debug=false"]);
    cargo.env("CARGO_TARGET_DIR", workspace.target.join("package-cinstall")).env("CARGO_INCREMENTAL", "0");
    quiet(cargo.current_dir(&workspace.root))?;
    for library in ["criu", "soccr"] {
        let there = names(&root.join("usr/include").join(library))?;
        let wanted = names(&workspace.root.join("include").join(library))?;
        if there != wanted {
            return Err(format!("headers of {library}: {there:?} instead of {wanted:?}"));
        }
    }
    let lib = root.join("usr/lib");
    against(&lib, root, &root.join("version"))?;
    soccr(&lib, root, &workspace.root.join("examples/soccr/pair.c"))
}

fn names(folder: &Path) -> Result<BTreeSet<String>, String> {
    let entries = fs::read_dir(folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    Ok(entries.flatten().map(|e| e.file_name().to_string_lossy().into_owned()).collect())
}

/// The example compiles, and finds the library by the name that the linker noted.
fn soccr(lib: &Path, root: &Path, source: &Path) -> Result<(), String> {
    let mut flags = Command::new("pkg-config");
    flags.args(["--cflags", "--libs", "soccr"]).env("PKG_CONFIG_LIBDIR", lib.join("pkgconfig"));
    let flags = output(flags.env("PKG_CONFIG_SYSROOT_DIR", root))?;
    let program = root.join("pair");
    quiet(Command::new("gcc").arg("-o").arg(&program).arg(source).args(flags.split_whitespace()))?;
    quiet(Command::new(&program).env("LD_LIBRARY_PATH", lib))
}
