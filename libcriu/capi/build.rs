//! Gives the shared library its name and, with one assembled object, a program's entry point and interpreter. The static
//! library gets neither: in a foreign program they would be in the way.

use std::path::PathBuf;
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
    println!("cargo:rustc-cdylib-link-arg=-Wl,-e,criu_worker_entry");
    println!("cargo:rustc-cdylib-link-arg=-Wl,-soname,libcriu.so.2");
    Ok(())
}
