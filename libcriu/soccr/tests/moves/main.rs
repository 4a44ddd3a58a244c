//! Connections moved, built and refused. Every test runs on a thread in network namespaces of its own; one that the system
//! cannot run says why and counts as ignored.

mod alone;
mod net;
mod refused;
mod with_peer;

use std::process::ExitCode;

/// How a test ends when it does not panic.
pub type Outcome = Result<(), Skip>;
/// Why a test could not run.
pub struct Skip(pub String);

type Test = (&'static str, fn() -> Outcome);

fn main() -> ExitCode {
    let filters: Vec<String> = std::env::args().skip(1).filter(|a| !a.starts_with('-')).collect();
    let tests: Vec<Test> = [alone::TESTS, with_peer::TESTS, refused::TESTS].concat();
    let mut counts = [0; 3];
    for (name, test) in tests {
        if !filters.is_empty() && !filters.iter().any(|f| name.contains(f.as_str())) {
            continue;
        }
        let (slot, result) = match std::thread::spawn(test).join() {
            Ok(Ok(())) => (0, "ok".to_string()),
            Err(_) => (1, "FAILED".to_string()),
            Ok(Err(Skip(why))) => (2, format!("ignored, {why}")),
        };
        counts[slot] += 1;
        println!("test {name} ... {result}");
    }
    println!("test result: {} passed; {} failed; {} ignored", counts[0], counts[1], counts[2]);
    if counts[1] == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
