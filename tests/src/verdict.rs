//! What a test came to, and the sums printed at the end.

use std::fmt;

/// Why a test did not get to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stop {
    Failed(String),
    /// Something this machine lacks, in words.
    Skipped(String),
}

pub type Outcome<T = ()> = Result<T, Stop>;

/// A failure from anything that can be shown.
pub fn failed(text: impl fmt::Display) -> Stop {
    Stop::Failed(text.to_string())
}

/// One test's name and result.
#[derive(Clone, Debug)]
pub struct Verdict {
    pub name: String,
    pub outcome: Outcome,
}

/// Counts and the texts worth repeating at the end of a run.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    pub passed: usize,
    pub failed: Vec<(String, String)>,
    pub skipped: Vec<(String, String)>,
}

impl Summary {
    pub fn add(&mut self, verdict: Verdict) {
        match verdict.outcome {
            Ok(()) => self.passed += 1,
            Err(Stop::Failed(text)) => self.failed.push((verdict.name, text)),
            Err(Stop::Skipped(text)) => self.skipped.push((verdict.name, text)),
        }
    }

    pub fn absorb(&mut self, other: Summary) {
        self.passed += other.passed;
        self.failed.extend(other.failed);
        self.skipped.extend(other.skipped);
    }
}

/// `3 passed, 0 failed, 1 skipped`
impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} passed, {} failed, {} skipped", self.passed, self.failed.len(), self.skipped.len())
    }
}

/// The one line by which a case's own process reports to the suite.
pub fn encode(outcome: &Outcome) -> String {
    let one_line = |s: &str| s.trim_end().replace('\n', "\u{1}");
    match outcome {
        Ok(()) => "PASSED".into(),
        Err(Stop::Failed(text)) => format!("FAILED {}", one_line(text)),
        Err(Stop::Skipped(text)) => format!("SKIPPED {}", one_line(text)),
    }
}

/// The reverse of [`encode`]: the last line that is a report; a process that died without one has failed.
pub fn decode(output: &str, ended: &str) -> Outcome {
    for line in output.lines().rev() {
        let text = |rest: &str| rest.replace('\u{1}', "\n");
        if line == "PASSED" {
            return Ok(());
        } else if let Some(rest) = line.strip_prefix("FAILED ") {
            return Err(Stop::Failed(text(rest)));
        } else if let Some(rest) = line.strip_prefix("SKIPPED ") {
            return Err(Stop::Skipped(text(rest)));
        }
    }
    Err(failed(format!("the case's process ended without a report ({ended}); its output: {output}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_survives_the_way() {
        for outcome in [Ok(()), Err(failed("a\nb")), Err(Stop::Skipped("no such kernel".into()))] {
            assert_eq!(decode(&format!("noise\n{}\n", encode(&outcome)), "exit 0"), outcome);
        }
        assert!(matches!(decode("noise", "signal 9"), Err(Stop::Failed(_))));
    }
}
