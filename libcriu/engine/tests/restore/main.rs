//! Restores of checkpoints, each in a pid namespace of its own (so that the pids in the images are free) with a /tmp of its
//! own (where the programs look for their files).
//!
//! `restore [FILTER]` runs the cases whose name contains it. A case that cannot run here says why and is counted as skipped.

mod arena;
mod faults;
mod footprint;
mod golden;
mod network;
mod transposed;

use std::process::ExitCode;

/// How a case ended, when it did not fail.
pub enum Outcome {
    Passed,
    Skipped(String),
}

pub type CaseResult = Result<Outcome, String>;

struct Case {
    name: &'static str,
    run: fn() -> CaseResult,
}

const CASES: &[Case] = &[
    Case { name: "golden_task", run: || golden::restores("task") },
    Case { name: "golden_files", run: || golden::restores("files") },
    Case { name: "golden_threads", run: || golden::restores("threads") },
    Case { name: "golden_tree", run: || golden::restores("tree") },
    Case { name: "golden_memory", run: || golden::restores("memory") },
    Case { name: "golden_tty", run: || golden::restores("tty") },
    Case { name: "golden_unix", run: || golden::restores("unix") },
    Case { name: "golden_inet", run: || golden::restores("inet") },
    Case { name: "golden_sockets", run: || golden::restores("sockets") },
    Case { name: "transposed_inet", run: || transposed::restores("inet") },
    Case { name: "transposed_sockets", run: || transposed::restores("sockets") },
    Case { name: "moved_ipv4", run: network::moved_ipv4 },
    Case { name: "moved_ipv6", run: network::moved_ipv6 },
    Case { name: "killed_engine_with_peer", run: network::killed_engine },
    Case { name: "transposed_tty", run: || transposed::restores("tty") },
    Case { name: "golden_locks", run: || golden::restores("locks") },
    Case { name: "transposed_locks", run: || transposed::restores("locks") },
    Case { name: "golden_watch", run: || golden::restores("watch") },
    Case { name: "transposed_watch", run: || transposed::restores("watch") },
    Case { name: "transposed_task", run: || transposed::restores("task") },
    Case { name: "transposed_files", run: || transposed::restores("files") },
    Case { name: "transposed_threads", run: || transposed::restores("threads") },
    Case { name: "transposed_tree", run: || transposed::restores("tree") },
    Case { name: "transposed_memory", run: || transposed::restores("memory") },
    Case { name: "transposed_unix", run: || transposed::restores("unix") },
    Case { name: "told_to_stop", run: transposed::told_to_stop },
    Case { name: "restored_as_sibling", run: transposed::restores_as_sibling },
    Case { name: "no_inventory", run: faults::no_inventory },
    Case { name: "truncated_images", run: faults::truncated_images },
    Case { name: "pid_taken", run: faults::pid_taken },
    Case { name: "other_architecture", run: faults::other_architecture },
    Case { name: "saved_by_a_plugin", run: faults::saved_by_a_plugin },
    Case { name: "missing_file", run: faults::missing_file },
    Case { name: "killed_engine", run: faults::killed_engine },
    Case { name: "failing_callback", run: faults::failing_callback },
    Case { name: "memory_of_the_engine", run: footprint::of_the_engine },
];

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if let [flag, name] = args.as_slice()
        && flag == "--in-namespace"
    {
        return in_namespace(name);
    }
    if let [flag, ready, result] = args.as_slice()
        && flag == "--hold"
    {
        return footprint::hold(ready, result);
    }
    if args.iter().any(|a| a == "--list") {
        CASES.iter().for_each(|c| println!("{}: test", c.name));
        return ExitCode::SUCCESS;
    }
    let filter = args.iter().find(|a| !a.starts_with('-')).cloned().unwrap_or_default();
    let mut failed = 0;
    for case in CASES.iter().filter(|c| c.name.contains(&filter)) {
        match arena::run_in_namespace(case.name) {
            Ok(Outcome::Passed) => println!("test {} ... ok", case.name),
            Ok(Outcome::Skipped(why)) => println!("test {} ... skipped: {why}", case.name),
            Err(why) => {
                println!("test {} ... FAILED: {why}", case.name);
                failed += 1;
            }
        }
    }
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The first process of the namespace: runs the case and tells how it ended by its output and exit code.
fn in_namespace(name: &str) -> ExitCode {
    let Some(case) = CASES.iter().find(|c| c.name == name) else { return ExitCode::FAILURE };
    match arena::prepare().and_then(|()| (case.run)()) {
        Ok(Outcome::Passed) => ExitCode::SUCCESS,
        Ok(Outcome::Skipped(why)) => {
            print!("{why}");
            ExitCode::from(arena::SKIPPED)
        }
        Err(why) => {
            print!("{why}");
            ExitCode::FAILURE
        }
    }
}
