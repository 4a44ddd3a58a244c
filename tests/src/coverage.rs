//! The contract of what must survive a checkpoint, line by line, and the tests that prove each. `coverage.tsv` names them;
//! the table `coverage.md` is made of both, so that what no test proves stands there as open.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use crate::bad_input;
use crate::subject::{self, Subject};

/// Sections that are mapped.
const SECTIONS: std::ops::RangeInclusive<u32> = 1..=6;

/// Words of the contract and what is known about them.
#[derive(Debug)]
struct Row {
    behaviour: String,
    tests: Vec<String>,
    /// What of it no test proves.
    lacks: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum State {
    Kept,
    Refused,
    Partly,
    Open,
}

impl State {
    fn word(self) -> &'static str {
        match self {
            State::Kept => "kept",
            State::Refused => "refused by name",
            State::Partly => "in part",
            State::Open => "open",
        }
    }
}

/// A section of the contract: its title and its lines, each in one piece.
struct Section {
    number: u32,
    title: String,
    lines: Vec<String>,
}

/// The text of `tests/coverage.md`.
///
/// # Errors
/// A row whose words are not in the contract where they should be, a test that does not exist.
pub fn table(root: &Path) -> Result<String, String> {
    let read = |name: &str| fs::read_to_string(root.join(name)).map_err(|e| format!("{name}: {e}"));
    let sections = sections(&read("tests/contracts/coverage.md")?);
    let rows = rows(&read("tests/coverage.tsv")?)?;
    let known = Known::find(root)?;
    let mut body = String::new();
    let mut counts: BTreeMap<(u32, State), usize> = BTreeMap::new();
    for section in sections.iter().filter(|s| SECTIONS.contains(&s.number)) {
        let mut rest = rows.get(&section.number).map_or(&[][..], Vec::as_slice);
        let _ = write!(body, "\n## {}. {}\n", section.number, section.title);
        for line in &section.lines {
            let (pieces, taken) = assign(line, rest);
            rest = &rest[taken..];
            let _ = write!(body, "\n> {line}\n\n| behaviour | state | tests |\n| --- | --- | --- |\n");
            for (behaviour, row) in pieces {
                let state = row.map_or(Ok(State::Open), |r| known.state(r))?;
                *counts.entry((section.number, state)).or_default() += 1;
                let _ = writeln!(body, "| {} | {} | {} |", behaviour.replace('|', "\\|"), state.word(), proof(row));
            }
        }
        if let Some(row) = rest.first() {
            return Err(format!(
                "section {}: {:?} is not in the contract, or out of order",
                section.number, row.behaviour
            ));
        }
    }
    let mut text = String::from(HEAD);
    for number in SECTIONS {
        let of = |state| counts.get(&(number, state)).copied().unwrap_or(0);
        let [kept, refused, partly, open] = [State::Kept, State::Refused, State::Partly, State::Open].map(of);
        let _ = writeln!(text, "| {number} | {kept} | {refused} | {partly} | {open} |");
    }
    Ok(text + &body)
}

const HEAD: &str = "\
# What is proved, line by line

Made by `cargo xtask coverage` from `contracts/coverage.md` (what must survive) and `coverage.tsv` (which test proves it). A subject runs
plain, left running and twice in a row, through the C API and through the command, unless its source says otherwise; `golden` is a
checkpoint made by CRIU 4.2; `rust` is a function of the engine's own tests, `refuses` one of a refusal; `input` is a case of the suite of bad input,
`python` a test of pycriu.
What is *open* may work: no test says so.

| section | kept | refused by name | in part | open |
| --- | --- | --- | --- | --- |
";

fn proof(row: Option<&Row>) -> String {
    let Some(row) = row else { return String::new() };
    let mut text = row.tests.join(", ");
    if let Some(lacks) = &row.lacks {
        let _ = write!(text, "{}open: {lacks}", if text.is_empty() { "" } else { "; " });
    }
    text
}

fn sections(contract: &str) -> Vec<Section> {
    let mut found: Vec<Section> = Vec::new();
    for line in contract.lines() {
        if let Some((number, title)) = line.strip_prefix("## ").and_then(|l| l.split_once(". ")) {
            let number = number.parse().unwrap_or(u32::MAX);
            found.push(Section { number, title: title.into(), lines: Vec::new() });
        } else if let Some(section) = found.last_mut() {
            if let Some(first) = line.strip_prefix("- ") {
                section.lines.push(first.replace("**", ""));
            } else if let Some(last) = section.lines.last_mut().filter(|_| !line.trim().is_empty()) {
                last.push(' ');
                last.push_str(line.trim());
            }
        }
    }
    found
}

/// The rows of each section.
fn rows(text: &str) -> Result<BTreeMap<u32, Vec<Row>>, String> {
    let mut found: BTreeMap<u32, Vec<Row>> = BTreeMap::new();
    let mut section = 0;
    for (n, line) in text.lines().enumerate() {
        let bad = |what: &str| format!("coverage.tsv line {}: {what}", n + 1);
        if let Some(number) = line.strip_prefix("# ") {
            section = number.parse().unwrap_or(section);
            continue;
        }
        let mut columns = line.split('\t');
        let behaviour = columns.next().unwrap_or_default().to_string();
        let tests =
            columns.next().ok_or_else(|| bad("it names no tests"))?.split_whitespace().map(str::to_string).collect();
        let lacks = match columns.next() {
            Some(note) => {
                Some(note.strip_prefix("open: ").ok_or_else(|| bad("a note starts with `open: `"))?.to_string())
            }
            None => None,
        };
        found.entry(section).or_default().push(Row { behaviour, tests, lacks });
    }
    Ok(found)
}

/// The pieces of a line: those that have a row, and between them those that have none; and how many rows were used.
fn assign<'a>(line: &str, rows: &'a [Row]) -> (Vec<(String, Option<&'a Row>)>, usize) {
    let (mut pieces, mut at, mut taken) = (Vec::new(), 0, 0);
    while let Some(row) = rows.get(taken)
        && let Some(found) = find_words(&line[at..], &row.behaviour)
    {
        pieces.extend(clauses(&line[at..at + found]).into_iter().map(|c| (c, None)));
        pieces.push((balanced(&row.behaviour).to_string(), Some(row)));
        at += found + row.behaviour.len();
        taken += 1;
    }
    pieces.extend(clauses(&line[at..]).into_iter().map(|c| (c, None)));
    (pieces, taken)
}

/// Where `words` stand in `text`, not inside of other words.
fn find_words(text: &str, words: &str) -> Option<usize> {
    let inside = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == '-');
    text.match_indices(words).map(|(at, _)| at).find(|&at| {
        let (first, last) = (words.chars().next(), words.chars().last());
        let before = inside(first) && inside(text[..at].chars().last());
        let after = inside(last) && inside(text[at + words.len()..].chars().next());
        !before && !after
    })
}

/// What is left between rows, as clauses: no headings, no words that only join others.
fn clauses(text: &str) -> Vec<String> {
    let text = text.rsplit_once(": ").map_or(text, |(_, behind)| behind);
    text.split([',', ';', '(', ')']).map(clause).filter(|c| !c.is_empty()).map(str::to_string).collect()
}

fn clause(text: &str) -> &str {
    let mut text = text.trim_matches([' ', '.', ':', '…']);
    for word in ["also", "and", "or", "of", "with"] {
        let (head, tail) = (format!("{word} "), format!(" {word}"));
        text = if text == word { "" } else { text.strip_prefix(&head).unwrap_or(text) };
        text = text.strip_suffix(&tail).unwrap_or(text);
    }
    text
}

/// Without the bracket whose other one is in another piece.
fn balanced(text: &str) -> &str {
    match (text.matches('(').count(), text.matches(')').count()) {
        (open, close) if open < close => text.trim_end_matches(')'),
        (open, close) if open > close && text.starts_with('(') => text.trim_start_matches('('),
        _ => text,
    }
}

/// Subjects that no row names.
///
/// # Errors
/// As [`table`].
pub fn unnamed(root: &Path) -> Result<Vec<String>, String> {
    let text = fs::read_to_string(root.join("tests/coverage.tsv")).map_err(|e| format!("tests/coverage.tsv: {e}"))?;
    let rows = rows(&text)?;
    let named = |name: &str| rows.values().flatten().any(|r| r.tests.iter().any(|t| t == name));
    Ok(Known::find(root)?.subjects.into_iter().map(|s| s.name).filter(|n| !named(n)).collect())
}

/// What tests there are.
struct Known {
    subjects: Vec<Subject>,
    golden: Vec<String>,
    /// Sources of the engine, for the names of functions.
    sources: String,
    /// The tests of pycriu.
    python: String,
}

impl Known {
    fn find(root: &Path) -> Result<Known, String> {
        let subjects = |folder: &str| subject::read_folder(&root.join(folder)).map_err(|e| format!("{folder}: {e}"));
        let entries = fs::read_dir(root.join("tests/golden")).map_err(|e| format!("tests/golden: {e}"))?;
        let mut sources = String::new();
        collect(&root.join("libcriu"), "rs", &mut sources).map_err(|e| format!("libcriu: {e}"))?;
        let mut python = String::new();
        collect(&root.join("python/tests"), "py", &mut python).map_err(|e| format!("python/tests: {e}"))?;
        Ok(Known {
            subjects: [subjects("tests/victims")?, subjects("tests/programs")?].concat(),
            golden: entries.flatten().map(|e| e.file_name().to_string_lossy().into_owned()).collect(),
            sources,
            python,
        })
    }

    fn state(&self, row: &Row) -> Result<State, String> {
        let mut refused = !row.tests.is_empty();
        for test in &row.tests {
            let there = match test.split_once(':') {
                Some(("golden", folder)) => self.golden.iter().any(|g| g == folder),
                Some(("input", name)) => bad_input::names().any(|n| n == name),
                Some(("rust" | "refuses", name)) => {
                    self.sources.contains(&format!("#[test]\nfn {name}("))
                        || self.sources.contains(&format!("#[test]\n    fn {name}("))
                        || self.sources.contains(&format!("Case {{ name: \"{name}\""))
                }
                Some(("python", name)) => self.python.contains(&format!("\ndef {name}(")),
                _ => {
                    let subject = self.subjects.iter().find(|s| s.name == *test);
                    refused &= subject.is_some_and(|s| s.refused.is_some());
                    subject.is_some()
                }
            };
            if !there {
                return Err(format!("{:?}: there is no test {test}", row.behaviour));
            }
            refused &= !["golden:", "rust:", "python:"].iter().any(|kind| test.starts_with(kind));
        }
        Ok(match (row.tests.is_empty(), &row.lacks) {
            (true, _) => State::Open,
            (false, Some(_)) => State::Partly,
            (false, None) if refused => State::Refused,
            (false, None) => State::Kept,
        })
    }
}

fn collect(folder: &Path, extension: &str, sources: &mut String) -> std::io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, extension, sources)?;
        } else if path.extension().is_some_and(|e| e == extension) {
            *sources += &fs::read_to_string(&path)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root() -> &'static Path {
        Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
    }

    #[test]
    fn the_table_is_that_of_the_tests() {
        let made = table(root()).unwrap();
        let kept = fs::read_to_string(root().join("tests/coverage.md")).unwrap();
        assert!(made == kept, "tests/coverage.md is old: run `cargo xtask coverage`");
    }

    #[test]
    fn words_without_a_row_are_open() {
        let row = |behaviour: &str| Row { behaviour: behaviour.into(), tests: Vec::new(), lacks: None };
        let rows = [row("nice"), row("limits (soft")];
        let (pieces, taken) = assign("per task: a nicer name, nice, umask; limits (soft and hard)", &rows);
        let open: Vec<&str> = pieces.iter().filter(|p| p.1.is_none()).map(|p| p.0.as_str()).collect();
        assert_eq!(open, ["a nicer name", "umask", "hard"]);
        assert_eq!(taken, 2);
        assert_eq!(assign("something else", &rows).1, 0);
    }

    #[test]
    fn a_test_that_is_not_there_is_named() {
        let known = Known::find(root()).unwrap();
        for name in ["no_such_subject", "golden:none", "rust:none", "refuses:none", "input:none", "python:none"] {
            let row = Row { behaviour: "x".into(), tests: vec![name.into()], lacks: None };
            assert!(known.state(&row).unwrap_err().contains(name));
        }
    }
}
