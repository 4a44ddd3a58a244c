//! `bench`: dump, restore and freeze through the C API on tmpfs, each beside a floor and a yardstick measured in the same run.
//!
//! The floor is the bare work (`tests/bench/floor.c`): for memory, two threads copying as much between memory and one tmpfs
//! file; for the rest, the system calls that look at such a thing or make it. The yardstick is the start and end of a
//! dynamically linked program. Freeze is the longest pause that the target itself sees during a leave-running dump.
//! All of it happens in a network namespace of its own, if it can. `growth` is a table of its own: whether what one more thread or file costs depends on how many there are.

mod growth;
mod run;

use std::path::PathBuf;
use std::process::{Command, ExitStatus};

use criu_tests::descendants::{adopt_orphans, kill_all};
use criu_tests::layout::Layout;
use criu_tests::verdict::Stop;

use crate::workspace::{Workspace, run as run_command};
use crate::{install, packages};
use run::{Figures, Room};

/// What is held, as `holder.c` and `floor.c` know it.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    pub name: &'static str,
    pub kind: &'static str,
    pub count: u32,
    pub repeats: usize,
}

const ROWS: [Row; 9] = [
    Row { name: "small process", kind: "small", count: 1, repeats: 15 },
    Row { name: "256 MiB", kind: "memory", count: 256, repeats: 5 },
    Row { name: "1 GiB", kind: "memory", count: 1024, repeats: 3 },
    Row { name: "1000 threads", kind: "threads", count: 1000, repeats: 5 },
    Row { name: "1000 files", kind: "files", count: 1000, repeats: 5 },
    Row { name: "201 processes", kind: "processes", count: 201, repeats: 5 },
    Row { name: "20000 VMAs", kind: "vmas", count: 20000, repeats: 5 },
    Row { name: "500 unix pairs", kind: "pairs", count: 500, repeats: 5 },
    Row { name: "1000 TCP ends", kind: "tcp", count: 500, repeats: 5 },
];

/// Set for the bench that runs alone in a network namespace.
const IS_APART: &str = "CRIU_BENCH_IS_APART";

/// The bench once more, alone in a network namespace: rules of the machine's own (locks that no restore has ended among them) are
/// looked at for every packet. `None` where there can be no such namespace.
fn apart(names: &[String]) -> Option<ExitStatus> {
    const ALONE: &str = "ip link set lo up && exec \"$0\" \"$@\"";
    if !Command::new("unshare").args(["--net", "ip", "link", "set", "lo", "up"]).status().is_ok_and(|s| s.success()) {
        return None;
    }
    let mut bench = Command::new("unshare");
    bench.args(["--net", "sh", "-c", ALONE]).arg(std::env::current_exe().ok()?);
    bench.arg("bench").args(names).env(IS_APART, "1").status().ok()
}

pub fn run(workspace: &Workspace, names: &[String]) -> Result<(), String> {
    if std::env::var_os(IS_APART).is_none() {
        packages::install(packages::COMPILER);
        install::stage(workspace)?;
        if let Some(status) = apart(names) {
            return if status.success() { Ok(()) } else { Err(status.to_string()) };
        }
    }
    let layout = Layout::new(&workspace.root, &workspace.target);
    let room = prepare(workspace, &layout)?;
    let text = |stop: Stop| match stop {
        Stop::Failed(text) | Stop::Skipped(text) => text,
    };
    adopt_orphans().map_err(text)?;
    let wanted = |r: &&Row| names.is_empty() || names.iter().any(|n| r.name.contains(n.as_str()) || r.kind == n);
    let mut table = Vec::new();
    let mut wrong = Vec::new();
    let yardstick = room.yardstick().map_err(text)?;
    let (only_growth, growth) = (names == ["growth"], names.is_empty() || names.iter().any(|n| n == "growth"));
    for row in ROWS.iter().filter(wanted) {
        eprintln!("measuring {} ...", row.name);
        match room.measure(row) {
            Ok(figures) => table.push((row.name, figures)),
            Err(stop) => wrong.push(format!("{}: {}", row.name, text(stop))),
        }
        kill_all();
    }
    if !only_growth {
        print_table(yardstick, &table);
    }
    if growth && let Err(stop) = growth::run(&room) {
        wrong.push(format!("growth: {}", text(stop)));
    }
    kill_all();
    let _ = std::fs::remove_dir_all(&room.images);
    if wrong.is_empty() { Ok(()) } else { Err(wrong.join("\n")) }
}

/// Compiles holder, floor and the C API's front, and makes the room on tmpfs.
fn prepare(workspace: &Workspace, layout: &Layout) -> Result<Room, String> {
    let programs = layout.built.join("bench");
    std::fs::create_dir_all(&programs).map_err(|e| format!("{}: {e}", programs.display()))?;
    for name in ["holder", "floor"] {
        let source = workspace.root.join(format!("tests/bench/{name}.c"));
        let mut gcc = Command::new("gcc");
        gcc.args(["-O2", "-Wall", "-Wno-unused-result", "-pthread", "-o"]).arg(programs.join(name)).arg(source);
        run_command(&mut gcc)?;
    }
    if let Some(broken) = criu_tests::build::all(&[], layout, 1).first() {
        return Err(format!("{}: {}", broken.name, broken.text));
    }
    let images = PathBuf::from(format!("/dev/shm/criu-bench-{}", std::process::id()));
    std::fs::create_dir_all(&images).map_err(|e| format!("{}: {e}", images.display()))?;
    Ok(Room { layout: layout.clone(), programs, images })
}

fn print_table(yardstick_us: f64, table: &[(&str, Figures)]) {
    println!("\nyardstick: {:.2} ms (start and end of a dynamically linked program)", yardstick_us / 1e3);
    println!("times in ms, medians; x: times the floor, y: in yardsticks\n");
    println!(
        "{:<15} | {:>8} {:>8} {:>6} {:>6} | {:>8} {:>8} {:>6} {:>6} | {:>8}",
        "", "dump", "floor", "x", "y", "restore", "floor", "x", "y", "freeze"
    );
    for (name, f) in table {
        let ms = |us: f64| us / 1e3;
        println!(
            "{name:<15} | {:>8.2} {:>8.2} {:>6.1} {:>6.1} | {:>8.2} {:>8.2} {:>6.1} {:>6.1} | {:>8.2}",
            ms(f.dump_us),
            ms(f.dump_floor_us),
            f.dump_us / f.dump_floor_us,
            f.dump_us / yardstick_us,
            ms(f.restore_us),
            ms(f.restore_floor_us),
            f.restore_us / f.restore_floor_us,
            f.restore_us / yardstick_us,
            ms(f.freeze_us),
        );
    }
}
