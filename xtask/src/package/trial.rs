//! `test package`: the packages are built, installed into a root of their own, used from there, and removed without a trace;
//! the source archive is built without a network.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use criu_tests::suite::show;
use criu_tests::verdict::{Outcome, Stop, Summary, Verdict, failed};

use super::{VERSION, build, cinstall, debian, fresh, output, quiet};
use crate::workspace::Workspace;

pub fn run(workspace: &Workspace) -> Summary {
    let mut summary = Summary::default();
    let mut add = |name: &str, outcome: Outcome| {
        let well = outcome.is_ok();
        let verdict = Verdict { name: format!("package/{name}"), outcome };
        show(&verdict);
        summary.add(verdict);
        well
    };
    let out = workspace.target.join("package");
    if Command::new("dpkg-deb").arg("--version").output().is_err() {
        add("debian", Err(Stop::Skipped("there is no dpkg-deb: packages are built on Debian".into())));
        return summary;
    }
    let made = match build(workspace, &out, &super::KINDS) {
        Ok(made) => made,
        Err(e) => {
            add("build", Err(failed(e)));
            return summary;
        }
    };
    let room = match fresh(&out.join("trial")) {
        Ok(room) => room,
        Err(e) => {
            add("room", Err(failed(e)));
            return summary;
        }
    };
    let root = room.join("root");
    if add("install", install(&root, &made).map_err(failed)) {
        add("command", command(&root).map_err(failed));
        add("library", library(&root, &room).map_err(failed));
        add("python", python(workspace, &root, &made));
        let verdicts = examples(workspace, &root).unwrap_or_else(|e| vec![("examples".into(), Err(failed(e)))]);
        for (name, outcome) in verdicts {
            add(&name, outcome);
        }
        add("remove", remove(&root).map_err(failed));
    }
    add("source", source(workspace, &room, &made).map_err(failed));
    add("cargo-cinstall", cinstall::trial(workspace, &room));
    let _ = fs::remove_dir_all(&room);
    summary
}

/// dpkg with a root of its own, in which nothing of ours needs a shell.
fn dpkg(root: &Path) -> Command {
    let mut dpkg = Command::new("dpkg");
    dpkg.arg(format!("--root={}", root.display()));
    dpkg.args(["--force-script-chrootless", "--force-depends", "--no-triggers", "--log=/dev/null"]);
    dpkg
}

fn install(root: &Path, made: &[PathBuf]) -> Result<(), String> {
    for folder in ["info", "updates", "triggers", "parts"] {
        fs::create_dir_all(root.join("var/lib/dpkg").join(folder)).map_err(|e| e.to_string())?;
    }
    for file in ["status", "available"] {
        fs::write(root.join("var/lib/dpkg").join(file), "").map_err(|e| e.to_string())?;
    }
    let debs = made.iter().filter(|f| f.extension().is_some_and(|e| e == "deb"));
    quiet(dpkg(root).arg("--install").args(debs))?;
    let said = output(dpkg(root).arg("--verify"))?;
    if said.is_empty() { Ok(()) } else { Err(format!("dpkg --verify: {said}")) }
}

fn says(text: &str, wanted: &str) -> Result<(), String> {
    if text.contains(wanted) { Ok(()) } else { Err(format!("{text:?} does not say {wanted:?}")) }
}

fn command(root: &Path) -> Result<(), String> {
    says(&output(Command::new(root.join("usr/sbin/criu")).arg("--version"))?, "4.2")?;
    let page = root.join("usr/share/man/man8/criu.8.gz");
    says(&output(Command::new("gzip").arg("-dc").arg(page))?, ".TH CRIU 8")
}

/// The folder of shared libraries below usr/lib.
fn libraries(root: &Path) -> Result<PathBuf, String> {
    let lib = root.join("usr/lib");
    let entries = fs::read_dir(&lib).map_err(|e| e.to_string())?.flatten().map(|e| e.path());
    entries.into_iter().find(|p| p.join("libcriu.so.2").exists()).ok_or_else(|| "libcriu.so.2 is nowhere".into())
}

fn library(root: &Path, room: &Path) -> Result<(), String> {
    against(&libraries(root)?, root, &room.join("version"))
}

/// A program is compiled against what was installed below `root`, and runs with it: its worker is the installed library.
pub(super) fn against(lib: &Path, root: &Path, program: &Path) -> Result<(), String> {
    let flags = output(
        Command::new("pkg-config")
            .args(["--cflags", "--libs", "criu"])
            .env("PKG_CONFIG_LIBDIR", lib.join("pkgconfig"))
            .env("PKG_CONFIG_SYSROOT_DIR", root),
    )?;
    let source = program.with_extension("c");
    let text = "#include <criu-ext.h>\n#include <stdio.h>\nint main(void)\n{\n\tif (criu_init_opts())\n\t\treturn 1;\n\
                \tprintf(\"%d %d\\n\", criu_get_version(), criu_check());\n\treturn 0;\n}\n";
    fs::write(&source, text).map_err(|e| e.to_string())?;
    quiet(Command::new("gcc").arg("-o").arg(program).arg(&source).args(flags.split_whitespace()))?;
    says(&output(Command::new(program).env("LD_LIBRARY_PATH", lib))?, "40200 ")
}

/// pycriu needs protobuf, which a virtual environment has; the packages themselves come from the root.
fn python(workspace: &Workspace, root: &Path, made: &[PathBuf]) -> Outcome {
    let venv = workspace.target.join("package-venv");
    quiet(Command::new(venv.join("bin/pip")).args([
        "--quiet",
        "--disable-pip-version-check",
        "install",
        "protobuf>=3.20",
    ]))
    .map_err(failed)?;
    let python = |args: &[&str]| {
        let mut python = Command::new(venv.join("bin/python"));
        python.args(args).env("PYTHONPATH", root.join("usr/lib/python3/dist-packages"));
        python
    };
    let found = output(&mut python(&["-c", "import pycriu, crit; print(pycriu.__file__, crit.__file__)"]));
    let found = found.map_err(failed)?;
    says(&found, &root.join("usr/lib/python3").display().to_string()).map_err(failed)?;
    let crit = root.join("usr/bin/crit");
    let said = output(&mut python(&[&crit.display().to_string(), "--version"])).map_err(failed)?;
    says(&said, VERSION).map_err(failed)?;
    if made.iter().any(|m| m.to_string_lossy().contains("pycriu-") && m.extension().is_some_and(|e| e == "whl")) {
        Ok(())
    } else {
        Err(failed("there is no wheel of pycriu"))
    }
}

/// The examples, with what is installed in the root; the Rust one is built here.
fn examples(workspace: &Workspace, root: &Path) -> Result<Vec<(String, Outcome)>, String> {
    quiet(&mut workspace.cargo(&["build", "--quiet", "-p", "criu-client", "--example", "checkpoint"]))?;
    let lib = libraries(root)?;
    let mut script = Workspace::bounded(200, "sh");
    script.arg(workspace.root.join("examples/run.sh"));
    script.env("PKG_CONFIG_LIBDIR", lib.join("pkgconfig")).env("PKG_CONFIG_SYSROOT_DIR", root);
    let sbin = root.join("usr/sbin");
    script.env("LD_LIBRARY_PATH", &lib).env("CRIU", sbin.join("criu"));
    // pycriu looks for the library in /usr; failing that it takes the command.
    script.env("PATH", format!("{}:{}", sbin.display(), std::env::var("PATH").unwrap_or_default()));
    script.env("PYTHON", workspace.target.join("package-venv/bin/python"));
    script.env("PYTHONPATH", root.join("usr/lib/python3/dist-packages")).env("PYTHONDONTWRITEBYTECODE", "1");
    script.env("RUST_CHECKPOINT", workspace.target.join("debug/examples/checkpoint"));
    let said = output(&mut script)?;
    let verdicts: Vec<_> = said.lines().filter_map(verdict).collect();
    if verdicts.is_empty() { Err(format!("examples/run.sh said {said:?}")) } else { Ok(verdicts) }
}

/// `ok NAME` or `failed NAME: why`.
fn verdict(line: &str) -> Option<(String, Outcome)> {
    if let Some(name) = line.strip_prefix("ok ") {
        return Some((format!("example/{name}"), Ok(())));
    }
    let (name, why) = line.strip_prefix("failed ")?.split_once(": ")?;
    Some((format!("example/{name}"), Err(failed(why))))
}

/// Nothing is left but dpkg's own records, no package named in them.
fn remove(root: &Path) -> Result<(), String> {
    let names: Vec<&str> = debian::names().collect();
    // What Python compiled while it was used; the distribution's own tools would have recorded and removed it.
    quiet(Command::new("find").arg(root.join("usr")).args([
        "-name",
        "__pycache__",
        "-prune",
        "-exec",
        "rm",
        "-r",
        "{}",
        "+",
    ]))?;
    quiet(dpkg(root).arg("--purge").args(&names))?;
    let left = output(Command::new("find").arg(root).args(["-path", "*/var", "-prune", "-o", "-print"]))?;
    let left: Vec<&str> = left.lines().filter(|l| Path::new(l) != root).collect();
    if left.is_empty() { Ok(()) } else { Err(format!("these are left: {}", left.join(" "))) }
}

/// Everything that `cargo build` gives, by a cargo that has no registry, may not ask for one and has no network to ask by. A
/// profile without optimisation, and what was compiled of the same vendored crates before, keep it short.
fn source(workspace: &Workspace, room: &Path, made: &[PathBuf]) -> Result<(), String> {
    let archive = made.iter().find(|f| f.to_string_lossy().ends_with(".tar.gz")).ok_or("there is no archive")?;
    // New files, so that none is taken for what was compiled before.
    quiet(Command::new("tar").arg("-xmzf").arg(archive).arg("-C").arg(room))?;
    let target = workspace.target.join("package-source");
    for old in ["criu", "libcriu.so", "libcriu.a", "libsoccr.so"] {
        let _ = fs::remove_file(target.join("debug").join(old));
    }
    let mut cargo = Workspace::bounded(900, "unshare");
    cargo.args(["--net", "cargo", "build", "--quiet", "--offline", "--frozen"]);
    cargo.args(["--config", "profile.dev.opt-level=0", "--config", "profile.dev.debug=false"]);
    cargo.current_dir(room.join(format!("libcriu-{VERSION}"))).env("CARGO_HOME", fresh(&room.join("cargo"))?);
    quiet(cargo.env("CARGO_TARGET_DIR", &target).env("CARGO_INCREMENTAL", "0"))?;
    let built = target.join("debug");
    says(&output(Command::new(built.join("criu")).arg("--version"))?, "4.2")?;
    for library in ["libcriu.a", "libsoccr.so"] {
        fs::metadata(built.join(library)).map_err(|e| format!("{library}: {e}"))?;
    }
    // Its own worker: the library file is executed.
    fs::copy(built.join("libcriu.so"), room.join("libcriu.so.2")).map_err(|e| format!("libcriu.so: {e}"))?;
    says(&output(Command::new(room.join("version")).env("LD_LIBRARY_PATH", room))?, "40200 0")
}
