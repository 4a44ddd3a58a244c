//! `fuzz`: the families of `fuzz/`, and restores of mutated image directories.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use criu_tests::layout::Layout;
use criu_tests::mutated;
use criu_tests::verdict::{Summary, failed};

use crate::test::{close, prepare, single};
use crate::workspace::{Workspace, run};

/// The parsers, as `fuzz/src/lib.rs` has them.
const FAMILIES: [&str; 5] = ["images", "request", "config", "command", "proc"];
/// The family that is a suite of `tests/`.
const RESTORE: &str = "restore";
/// Inputs of each family in the short form.
const FEW: &str = "20000x";

struct Plan {
    time: Duration,
    families: Vec<String>,
    seed: u64,
    libfuzzer: bool,
    staged: bool,
}

fn plan(args: &[String]) -> Result<Plan, String> {
    let mut plan =
        Plan { time: Duration::from_secs(60), families: Vec::new(), seed: 1, libfuzzer: false, staged: false };
    let mut rest = args.iter();
    while let Some(arg) = rest.next() {
        let mut number =
            || rest.next().and_then(|n| n.parse::<u64>().ok()).ok_or(format!("fuzz: {arg} needs a number"));
        match arg.as_str() {
            "--minutes" => plan.time = Duration::from_secs(60 * number()?),
            "--seed" => plan.seed = number()?,
            "--libfuzzer" => plan.libfuzzer = true,
            "--staged" => plan.staged = true,
            "--family" => match rest.next() {
                Some(f) if FAMILIES.contains(&f.as_str()) || f == RESTORE => plan.families.push(f.clone()),
                _ => return Err(format!("fuzz: --family is one of {}, {RESTORE}", FAMILIES.join(", "))),
            },
            other => return Err(format!("fuzz: unknown argument {other}")),
        }
    }
    if plan.families.is_empty() {
        plan.families = FAMILIES.into_iter().chain([RESTORE]).map(str::to_string).collect();
    }
    Ok(plan)
}

/// Every family for so many minutes.
pub fn command(workspace: &Workspace, args: &[String]) -> ExitCode {
    let start = Instant::now();
    let plan = match plan(args) {
        Ok(plan) => plan,
        Err(e) => return crate::complain(e),
    };
    let mut summary = Summary::default();
    for family in &plan.families {
        println!("\n== {family}");
        summary.absorb(match family.as_str() {
            RESTORE => restores(workspace, &plan),
            name if plan.libfuzzer => single(name, libfuzzer(workspace, name, plan.time).map_err(failed)),
            name => parsers(workspace, name, &plan.time.as_secs().to_string(), plan.seed),
        });
    }
    close(&summary, start)
}

/// The same inputs every time.
pub fn short(workspace: &Workspace, layout: &Layout, filters: &[String]) -> Summary {
    let mut summary = Summary::default();
    for family in FAMILIES.into_iter().filter(|f| filters.is_empty() || filters.iter().any(|w| w == f)) {
        summary.absorb(parsers(workspace, family, FEW, 1));
    }
    summary.absorb(mutated::run(layout, filters, 6, 1, 2));
    summary
}

fn findings(workspace: &Workspace) -> PathBuf {
    workspace.target.join("fuzz-findings")
}

fn parsers(workspace: &Workspace, family: &str, amount: &str, seed: u64) -> Summary {
    let build = run(&mut workspace.cargo(&["build", "--release", "--quiet", "-p", "criu-fuzz"]));
    let drive = || {
        let mut plain = std::process::Command::new(workspace.target.join("release/fuzz-plain"));
        run(plain.args([family, amount, &seed.to_string()]).arg(findings(workspace)))
    };
    single(&format!("fuzz/{family}"), build.and_then(|()| drive()).map_err(failed))
}

/// What `cargo fuzz` gives the compiler, less what takes a nightly toolchain (sanitizers), and the checks of a debug build.
const INSTRUMENTED: &str = "--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares -Cdebug-assertions=on -Coverflow-checks=on -Ccodegen-units=1";
/// Named, so that programs which cargo runs while it builds are not instrumented.
const MACHINE: &str = "x86_64-unknown-linux-gnu";

/// Driven by coverage; takes a C++ compiler. What it finds on the way stays in the target directory and is begun with the next time.
fn libfuzzer(workspace: &Workspace, family: &str, time: Duration) -> Result<(), String> {
    let target = workspace.target.join("libfuzzer");
    let mut build = workspace.cargo(&["build", "--release", "--quiet", "-p", "criu-fuzz", "--features", "libfuzzer"]);
    run(build
        .args(["--bin", family, "--target", MACHINE])
        .env("CARGO_TARGET_DIR", &target)
        .env("RUSTFLAGS", INSTRUMENTED))?;
    let (seeds, corpus) = (target.join("seeds").join(family), target.join("corpus").join(family));
    std::fs::create_dir_all(&corpus).map_err(|e| format!("{}: {e}", corpus.display()))?;
    run(&mut workspace.cargo(&["build", "--release", "--quiet", "-p", "criu-fuzz", "--bin", "fuzz-plain"]))?;
    run(std::process::Command::new(workspace.target.join("release/fuzz-plain")).args([family, "seeds"]).arg(&seeds))?;
    let kept = findings(workspace);
    std::fs::create_dir_all(&kept).map_err(|e| format!("{}: {e}", kept.display()))?;
    let mut fuzz = std::process::Command::new(target.join(MACHINE).join("release").join(family));
    fuzz.args([&corpus, &seeds]).arg(format!("-artifact_prefix={}/{family}-", kept.display()));
    fuzz.arg(format!("-max_total_time={}", time.as_secs()));
    run(fuzz.args(["-timeout=10", "-rss_limit_mb=2048", "-max_len=8192", "-print_final_stats=1"]))
}

fn restores(workspace: &Workspace, plan: &Plan) -> Summary {
    const AT_A_TIME: u64 = 40;
    let layout = Layout::new(&workspace.root, &workspace.target);
    let mut summary = Summary::default();
    if !prepare(workspace, &layout, plan.staged, &mut summary) {
        return summary;
    }
    let end = Instant::now() + plan.time;
    for seed in plan.seed.. {
        if Instant::now() > end {
            break;
        }
        summary.absorb(mutated::run(&layout, &[], AT_A_TIME, seed, 1));
    }
    println!("{} directories were restored or refused", summary.passed as u64 * AT_A_TIME);
    summary
}
