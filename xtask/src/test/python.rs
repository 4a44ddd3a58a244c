//! pycriu and crit, from wheels built here, in a fresh virtual environment.

use criu_tests::verdict::{Summary, failed};

use super::cargo::follow;
use super::single;
use crate::workspace::Workspace;

pub fn run(workspace: &Workspace) -> Summary {
    let mut command = Workspace::bounded(900, "sh");
    command.arg(workspace.root.join("python/run-tests.sh")).args(["-q", "-rs"]);
    command.env("CARGO_TARGET_DIR", &workspace.target);
    match follow(&mut command) {
        Ok((lines, well)) => {
            let summary = count(&lines);
            if !well {
                lines.iter().rev().take(60).rev().for_each(|l| println!("  {l}"));
            }
            match summary {
                Some(s) if well == s.failed.is_empty() => s,
                _ => single("python/run-tests.sh", Err(failed("it ended badly; see above"))),
            }
        }
        Err(e) => single("python/run-tests.sh", Err(failed(e))),
    }
}

/// What pytest's closing line says: `2 failed, 266 passed, 1 skipped in 70.12s`.
fn count(lines: &[String]) -> Option<Summary> {
    let closing = lines.iter().rev().find(|l| l.contains(" passed") || l.contains(" failed"))?;
    let number = |what: &str| -> usize {
        let words: Vec<&str> = closing.split_ascii_whitespace().collect();
        let at = words.iter().position(|w| w.trim_end_matches(',') == what);
        at.and_then(|i| words.get(i.checked_sub(1)?)?.parse().ok()).unwrap_or(0)
    };
    let names = |count: usize, why: &str| (0..count).map(|i| (format!("pytest {}", i + 1), why.to_string())).collect();
    let mut summary = Summary { passed: number("passed"), ..Summary::default() };
    summary.failed = names(number("failed") + number("error") + number("errors"), "see above");
    summary.skipped = names(number("skipped"), "pytest gives the reason above");
    Some(summary)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_closing_line_is_counted() {
        let lines = ["....", "2 failed, 266 passed, 1 skipped in 70.12s"].map(String::from);
        assert_eq!(count(&lines).unwrap().to_string(), "266 passed, 2 failed, 1 skipped");
        assert!(count(&[]).is_none());
    }
}
