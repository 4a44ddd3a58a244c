//! Debian packages: libcriu2, libcriu-dev, criu, python3-pycriu, crit.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::tree::Tree;
use super::{VERSION, fresh, output, quiet};
use crate::workspace::Workspace;

const REVISION: &str = "1";
const DIST: &str = "usr/lib/python3/dist-packages";

/// What a package is made of.
struct Package {
    name: &'static str,
    section: &'static str,
    /// Other packages of ours, of exactly this version.
    ours: &'static [&'static str],
    depends: &'static [&'static str],
    summary: &'static str,
    description: &'static str,
    /// Whether it holds machine code of its own.
    native: bool,
    fill: fn(&Sources<'_>, &Tree) -> Result<(), String>,
}

/// What packages are filled from.
struct Sources<'a> {
    workspace: &'a Workspace,
    /// An installation below /usr.
    usr: &'a Path,
    wheels: &'a [PathBuf],
    /// x86_64-linux-gnu
    triplet: String,
    architecture: String,
}

const PACKAGES: [Package; 5] = [
    Package {
        name: "libcriu2",
        section: "libs",
        ours: &[],
        depends: &[],
        summary: "checkpoint and restore of processes: the library",
        description: "libcriu.so.2 saves a running tree of processes into files and brings it back, with the engine inside: no \
                      other program is needed. A drop-in for the library of CRIU.",
        native: true,
        fill: library,
    },
    Package {
        name: "libcriu-dev",
        section: "libdevel",
        ours: &["libcriu2"],
        depends: &[],
        summary: "checkpoint and restore of processes: development files",
        description: "Headers, static libraries and pkg-config files of libcriu, and libsoccr, which saves and restores one TCP \
                      connection.",
        native: true,
        fill: development,
    },
    Package {
        name: "criu",
        section: "admin",
        ours: &[],
        depends: &[],
        summary: "checkpoint and restore of processes: the command",
        description: "criu saves a running tree of processes into files and brings it back; its service does so for others.",
        native: true,
        fill: command,
    },
    Package {
        name: "python3-pycriu",
        section: "python",
        ours: &["libcriu2"],
        depends: &["python3", "python3-protobuf"],
        summary: "checkpoint and restore of processes: Python interface",
        description: "pycriu dumps and restores processes, itself included, and reads and writes their images.",
        native: true,
        fill: pycriu,
    },
    Package {
        name: "crit",
        section: "utils",
        ours: &["python3-pycriu"],
        depends: &["python3"],
        summary: "view, edit, compare and verify checkpoints",
        description: "crit shows what a checkpoint holds, turns images into JSON and back, compares checkpoints, edits and \
                      verifies them.",
        native: false,
        fill: crit,
    },
];

/// The names of the packages, in an order in which they can be installed.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    PACKAGES.iter().map(|p| p.name)
}

pub(super) fn build(workspace: &Workspace, usr: &Path, wheels: &[PathBuf], out: &Path) -> Result<Vec<PathBuf>, String> {
    let ask = |what: &str| output(Command::new("dpkg-architecture").arg(what)).map(|s| s.trim().to_owned());
    // dpkg-architecture is of dpkg-dev; dpkg itself knows only the architecture.
    let architecture = output(Command::new("dpkg").arg("--print-architecture"))?.trim().to_owned();
    let triplet = ask("-qDEB_HOST_MULTIARCH").unwrap_or_else(|_| format!("{}-linux-gnu", std::env::consts::ARCH));
    let sources = Sources { workspace, usr, wheels, triplet, architecture };
    PACKAGES.iter().map(|p| one(p, &sources, out)).collect()
}

fn one(package: &Package, sources: &Sources<'_>, out: &Path) -> Result<PathBuf, String> {
    let tree = Tree { root: fresh(&out.join("tree"))? };
    (package.fill)(sources, &tree)?;
    let doc = format!("usr/share/doc/{}", package.name);
    let root = &sources.workspace.root;
    tree.write(&format!("{doc}/copyright"), &copyright(root)?, 0o644)?;
    tree.add(&root.join("CHANGELOG.md"), &format!("{doc}/changelog"))?;
    tree.compress(&format!("{doc}/changelog"))?;
    let control = control(package, sources, &tree)?;
    let mut sums = String::new();
    for file in tree.files()? {
        let sum = output(Command::new("md5sum").arg(&file).current_dir(&tree.root))?;
        sums.push_str(&sum);
    }
    tree.write("DEBIAN/control", &control, 0o644)?;
    tree.write("DEBIAN/md5sums", &sums, 0o644)?;
    if package.name == "libcriu2" {
        tree.write("DEBIAN/shlibs", "libcriu 2 libcriu2\n", 0o644)?;
        tree.write("DEBIAN/triggers", "activate-noawait ldconfig\n", 0o644)?;
    }
    python_scripts(package, &tree)?;
    let file = out.join(format!("{}_{VERSION}-{REVISION}_{}.deb", package.name, architecture(package, sources)));
    let mut build = Command::new("dpkg-deb");
    quiet(build.args(["--root-owner-group", "-Zxz", "--build"]).arg(&tree.root).arg(&file))?;
    fs::remove_dir_all(&tree.root).map_err(|e| e.to_string())?;
    Ok(file)
}

fn architecture<'a>(package: &Package, sources: &'a Sources<'_>) -> &'a str {
    if package.native { &sources.architecture } else { "all" }
}

fn control(package: &Package, sources: &Sources<'_>, tree: &Tree) -> Result<String, String> {
    let mut depends: Vec<String> = package.depends.iter().map(|d| (*d).to_owned()).collect();
    depends.extend(package.ours.iter().map(|p| format!("{p} (= {VERSION}-{REVISION})")));
    if package.native {
        depends.extend(system_libraries(tree)?);
    }
    let depends = if depends.is_empty() { String::new() } else { format!("Depends: {}\n", depends.join(", ")) };
    let same = if package.section == "libs" || package.section == "libdevel" { "Multi-Arch: same\n" } else { "" };
    Ok(format!(
        "Package: {}\nVersion: {VERSION}-{REVISION}\nArchitecture: {}\n{same}Maintainer: The libcriu project <libcriu@localhost>\n\
         Installed-Size: {}\n{depends}Section: {}\nPriority: optional\nDescription: {}\n{}",
        package.name,
        architecture(package, sources),
        tree.size()?,
        package.section,
        package.summary,
        wrapped(package.description),
    ))
}

/// What the machine code of a tree needs from the system: libc6 of the newest version that a symbol names, libgcc-s1.
fn system_libraries(tree: &Tree) -> Result<Vec<String>, String> {
    let (mut newest, mut gcc) = ((0, 0), false);
    for file in tree.files()?.iter().filter(|f| is_machine_code(f)) {
        let said = output(Command::new("objdump").arg("-p").arg(tree.root.join(file)))?;
        gcc |= said.contains("NEEDED               libgcc_s.so.1");
        newest = said.split_whitespace().filter_map(glibc).fold(newest, Ord::max);
    }
    let mut all = Vec::new();
    if newest > (0, 0) {
        all.push(format!("libc6 (>= {}.{})", newest.0, newest.1));
    }
    if gcc {
        all.push("libgcc-s1".into());
    }
    Ok(all)
}

fn is_machine_code(file: &Path) -> bool {
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    name.contains(".so") || file.parent().is_some_and(|p| p.ends_with("sbin"))
}

/// GLIBC_2.34 as numbers.
fn glibc(word: &str) -> Option<(u32, u32)> {
    let mut parts = word.strip_prefix("GLIBC_")?.split('.');
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

/// The long description: indented, in lines of at most 79 characters.
fn wrapped(text: &str) -> String {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.len() + word.len() < 78 => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(format!(" {word}")),
        }
    }
    lines.iter().fold(String::new(), |mut all, line| {
        let _ = writeln!(all, "{line}");
        all
    })
}

fn copyright(root: &Path) -> Result<String, String> {
    let read = |name: &str| fs::read_to_string(root.join(name)).map_err(|e| format!("{name}: {e}"));
    Ok(format!(
        "Licensed under either of the following, at your choice.\n\nMIT:\n\n{}\nApache-2.0:\n\n{}",
        read("LICENSE-MIT")?,
        read("LICENSE-APACHE")?
    ))
}

/// Python modules are compiled when they are installed, and what was compiled is removed with them.
fn python_scripts(package: &Package, tree: &Tree) -> Result<(), String> {
    if !tree.root.join(DIST).exists() {
        return Ok(());
    }
    let script = |call: &str| {
        let (tool, name) = (call.split(' ').next().unwrap_or_default(), package.name);
        format!(
            "#!/bin/sh\nset -e\nif [ -z \"${{DPKG_ROOT:-}}\" ] && command -v {tool} >/dev/null; then\n\t{call} -p {name}\nfi\n"
        )
    };
    tree.write("DEBIAN/postinst", &script("py3compile"), 0o755)?;
    tree.write("DEBIAN/prerm", &script("py3clean"), 0o755)
}

fn library(sources: &Sources<'_>, tree: &Tree) -> Result<(), String> {
    let lib = format!("usr/lib/{}", sources.triplet);
    for name in ["libcriu.so.2.0", "libcriu.so.2"] {
        tree.add(&sources.usr.join("lib").join(name), &format!("{lib}/{name}"))?;
    }
    tree.strip(&format!("{lib}/libcriu.so.2.0"))
}

fn development(sources: &Sources<'_>, tree: &Tree) -> Result<(), String> {
    let lib = format!("usr/lib/{}", sources.triplet);
    for name in ["libcriu.so", "libcriu.a", "libsoccr.so", "libsoccr.a"] {
        tree.add(&sources.usr.join("lib").join(name), &format!("{lib}/{name}"))?;
    }
    for name in ["libcriu.a", "libsoccr.so", "libsoccr.a"] {
        tree.strip(&format!("{lib}/{name}"))?;
    }
    tree.add(&sources.usr.join("include"), "usr/include")?;
    for name in ["criu.pc", "soccr.pc"] {
        let from = sources.usr.join("lib/pkgconfig").join(name);
        let text = fs::read_to_string(&from).map_err(|e| format!("{}: {e}", from.display()))?;
        let text = text.replace("libdir=${prefix}/lib", &format!("libdir=${{prefix}}/lib/{}", sources.triplet));
        tree.write(&format!("{lib}/pkgconfig/{name}"), &text, 0o644)?;
    }
    page(sources, tree, "share/man/man3/libcriu.3")
}

fn page(sources: &Sources<'_>, tree: &Tree, path: &str) -> Result<(), String> {
    let to = format!("usr/{path}");
    tree.add(&sources.usr.join(path), &to)?;
    if path.starts_with("share/man/") { tree.compress(&to) } else { Ok(()) }
}

fn command(sources: &Sources<'_>, tree: &Tree) -> Result<(), String> {
    tree.add(&sources.usr.join("sbin/criu"), "usr/sbin/criu")?;
    tree.strip("usr/sbin/criu")?;
    page(sources, tree, "share/man/man8/criu.8")?;
    page(sources, tree, "share/bash-completion/completions/criu")?;
    page(sources, tree, "share/zsh/vendor-completions/_criu")?;
    page(sources, tree, "share/fish/vendor_completions.d/criu.fish")
}

fn unpack(sources: &Sources<'_>, tree: &Tree, name: &str) -> Result<(), String> {
    let is_it = |w: &&PathBuf| w.file_name().is_some_and(|f| f.to_string_lossy().starts_with(&format!("{name}-")));
    let wheel = sources.wheels.iter().find(is_it).ok_or_else(|| format!("there is no wheel of {name}"))?;
    let to = tree.root.join(DIST);
    fs::create_dir_all(&to).map_err(|e| e.to_string())?;
    quiet(Command::new("python3").args(["-m", "zipfile", "-e"]).arg(wheel).arg(&to))
}

fn pycriu(sources: &Sources<'_>, tree: &Tree) -> Result<(), String> {
    unpack(sources, tree, "pycriu")?;
    // The worker is that of libcriu2.
    fs::remove_file(tree.root.join(DIST).join("pycriu/libcriu.so.2")).map_err(|e| format!("the wheel's worker: {e}"))
}

fn crit(sources: &Sources<'_>, tree: &Tree) -> Result<(), String> {
    unpack(sources, tree, "crit")?;
    let script = "#!/usr/bin/python3\nfrom crit.__main__ import main\n\nmain()\n";
    tree.write("usr/bin/crit", script, 0o755)?;
    page(sources, tree, "share/man/man1/crit.1")?;
    page(sources, tree, "share/bash-completion/completions/crit")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptions_and_versions() {
        assert_eq!(glibc("GLIBC_2.34"), Some((2, 34)));
        assert_eq!(glibc("GLIBC_2.2.5"), Some((2, 2)));
        assert_eq!(glibc("GLIBC_PRIVATE"), None);
        let text = wrapped(&"word ".repeat(40));
        assert!(text.lines().all(|l| l.starts_with(' ') && l.len() <= 80 && l.trim().len() > 3), "{text}");
    }
}
