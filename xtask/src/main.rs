//! The one entry point for everything around building: `cargo xtask` lists its commands.

mod bench;
mod demo;
mod document;
mod fuzz;
mod install;
mod package;
mod packages;
mod test;
mod workspace;

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use criu_tests::descendants::kill_all;
use criu_tests::layout::Layout;
use criu_tests::suite;
use criu_tests::verdict::{encode, failed};
use workspace::Workspace;

const COMMANDS: &str = "\
cargo xtask COMMAND

  demo                             build, then watch a counting program being checkpointed, gone, restored and counting on
  test [--staged] [SUITE] [NAME...]
                                   install what the tests need, run everything, print passed, failed and skipped
                                   SUITE: fmt clippy rust doc c subjects namespaces golden torture fuzz input go python package; NAME: part of a test's name;
                                   --staged: against the last staged build, without building anew
  coverage                         write tests/coverage.md: what must survive, and the tests that prove it
  torture [--staged] [--rounds N] [NAME...]
                                   the engine disturbed at length: N kills of a dump and of a restore (2000), every system call failing once, full
                                   disks, targets that do not keep still; NAME: part of a test's name
  fuzz [--staged] [--minutes N] [--family F] [--seed S] [--libfuzzer]
                                   each family for so long (1): images request config command proc restore; --libfuzzer: by coverage, which
                                   takes a C++ compiler
  bench [NAME...]                  dump, restore and freeze times beside their floors; `growth`: what one costs among few and many
  install [--prefix P] [--destdir D]
                                   build and install library, headers, criu.pc, the command, manuals and completions
  package [--out DIR] [deb|wheel|source]
                                   Debian packages, Python wheels, a source archive that builds offline (target/package)
";

fn main() -> ExitCode {
    let mut args: Vec<String> = std::env::args().skip(1).collect();
    if args.is_empty() {
        print!("{COMMANDS}");
        return ExitCode::SUCCESS;
    }
    let command = args.remove(0);
    let workspace = match Workspace::find() {
        Ok(w) => w,
        Err(e) => return complain(e),
    };
    let done = match command.as_str() {
        "demo" => demo::run(&workspace),
        "test" => return test::run(&workspace, &args),
        "coverage" => coverage(&workspace),
        "fuzz" => return fuzz::command(&workspace, &args),
        "torture" => return test::torture(&workspace, &args),
        "bench" => bench::run(&workspace, &args),
        "install" => install::run(&workspace, &args),
        "package" => package::command(&workspace, &args),
        // What `test` starts for each case: a process that is nobody else's subreaper.
        "run-case" => return run_case(&workspace, &args),
        "help" | "-h" | "--help" => {
            print!("{COMMANDS}");
            Ok(())
        }
        other => Err(format!("no command `{other}`\n\n{COMMANDS}")),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => complain(e),
    }
}

/// Writes the table and says what is open in it.
fn coverage(workspace: &Workspace) -> Result<(), String> {
    let text = criu_tests::coverage::table(&workspace.root)?;
    text.lines().filter(|l| l.contains("| open |") || l.contains("| in part |")).for_each(|l| println!("{l}"));
    println!("subjects in no row: {}", criu_tests::coverage::unnamed(&workspace.root)?.join(" "));
    let file = workspace.root.join("tests/coverage.md");
    std::fs::write(&file, text).map_err(|e| format!("{}: {e}", file.display()))
}

fn complain(text: impl std::fmt::Display) -> ExitCode {
    eprintln!("xtask: {text}");
    ExitCode::FAILURE
}

/// How long one case may take; the longest takes a tenth of it.
const PATIENCE: Duration = Duration::from_secs(240);

/// `run-case NAME FOLDER`: its last line of output is the verdict.
fn run_case(workspace: &Workspace, args: &[String]) -> ExitCode {
    let [name, folder] = args else { return complain("run-case NAME FOLDER") };
    std::thread::spawn(|| {
        std::thread::sleep(PATIENCE);
        println!("{}", encode(&Err(failed(format!("no end after {} s", PATIENCE.as_secs())))));
        kill_all();
        std::process::exit(0);
    });
    let layout = Layout::new(&workspace.root, &workspace.target);
    let outcome = suite::run_here(name, &layout, Path::new(folder));
    println!("{}", encode(&outcome));
    ExitCode::SUCCESS
}
