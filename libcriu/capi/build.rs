//! Gives the shared library its name and, with one assembled object, a program's entry point and interpreter. The static
//! library gets neither: in a foreign program they would be in the way.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, io};

fn main() -> io::Result<()> {
    println!("cargo:rerun-if-changed=src/worker/entry.s");
    println!("cargo:rerun-if-env-changed=CC");
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or_else(|| io::Error::other("no OUT_DIR"))?);
    let object = out.join("entry.o");
    let cc = env::var_os("CC").unwrap_or_else(|| "cc".into());
    let done = Command::new(&cc).args(["-c", "src/worker/entry.s", "-o"]).arg(&object).status()?;
    if !done.success() {
        return Err(io::Error::other(format!("{} could not assemble entry.s: {done}", cc.to_string_lossy())));
    }
    println!("cargo:rustc-cdylib-link-arg={}", object.display());
    if let Some(folder) = static_unwinder(&cc) {
        println!("cargo:rustc-link-search=native={}", folder.display());
        println!("cargo:rustc-link-lib=static:-bundle=gcc_eh");
    }
    println!("cargo:rustc-cdylib-link-arg=-Wl,-e,criu_worker_entry");
    println!("cargo:rustc-cdylib-link-arg=-Wl,-soname,libcriu.so.2");
    Ok(())
}

/// The folder of the compiler's own unwinder as an archive. With it in the library the worker has one shared object less to load
/// each time that it starts.
fn static_unwinder(cc: &OsStr) -> Option<PathBuf> {
    let asked = Command::new(cc).arg("-print-file-name=libgcc_eh.a").output().ok()?;
    let path = PathBuf::from(String::from_utf8(asked.stdout).ok()?.trim());
    // A compiler without one says the bare name.
    (asked.status.success() && path.is_absolute() && path.is_file()).then(|| path.parent().map(Path::to_owned))?
}
