//! A program that holds state: its source, and the facts in the first comment of it.
//!
//! Each fact is a comment line `Key: value`:
//!
//! | key | meaning |
//! | --- | --- |
//! | `What` | one sentence: the behaviour |
//! | `Variants` | names given as second argument; each is a subject of its own, `file.variant` |
//! | `Build` | more compiler arguments; `criu` stands for those of the staged library |
//! | `Options` | for dump and restore, as the command has them |
//! | `Dump-options`, `Restore-options` | for one of the two |
//! | `Modes` | some of `plain leave twice`; all by default |
//! | `Dumps` | how many times in mode `leave` it is dumped before it checks itself; 1 by default |
//! | `Copy` | `no`: after leave-running, the outside has changed too much to restore the copy |
//! | `Refused` | a dump must fail, and one line of its error has all these words (`&` between words, `\|` between alternatives) |
//! | `Refused.VARIANT` | the same, for one variant |
//! | `Images` | `per-task-filters`: its images are restored as an older CRIU would have written them (see `aged.rs`); `criu-socket-fields`: as CRIU reads those of internet sockets; `watched-by-handle`: as CRIU writes watches |
//! | `Go` | `signal` (SIGUSR1, default) or `file` (the file `go` appears in the directory) |
//! | `Self` | `yes`: the program calls the library itself |
//! | `Ignore` | rows of the outside view (see `snapshot.rs`) that may change |
//! | `Needs` | commands without which the subject is skipped |
//! | `Huge-pages` | pages of 2 MiB that are added to the machine's pool for it; where they cannot be had it is skipped |
//! | `Seconds` | how long it may take to get ready or to check itself; 20 by default |
//! | `Terminal` | `yes`: standard descriptors are the terminal of a session outside the tree |
//! | `Terminals` | `own`: it runs where /dev/pts is its own, so that numbers of pseudo terminals are free for it |
//! | `Network` | `own`: it runs in a network namespace without devices but `lo` |

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

#[derive(Clone, Debug)]
pub struct Subject {
    /// `pipe_data`, or `syscall.poll` for a variant.
    pub name: String,
    pub source: PathBuf,
    pub variant: Option<String>,
    pub what: String,
    pub build: Vec<String>,
    pub dump_options: Vec<String>,
    pub restore_options: Vec<String>,
    pub modes: Vec<String>,
    pub dumps: u32,
    pub copy: bool,
    /// Alternatives of words that all have to be there.
    pub refused: Option<Vec<Vec<String>>>,
    pub images: Option<String>,
    pub go_file: bool,
    pub dumps_itself: bool,
    pub ignore: Vec<String>,
    pub needs: Vec<String>,
    pub huge_pages: u64,
    pub patience: Duration,
    pub terminal: bool,
    pub own_terminals: bool,
    pub own_network: bool,
}

impl Subject {
    /// File name without its extension.
    pub fn stem(&self) -> String {
        self.source.file_stem().unwrap_or_default().to_string_lossy().into_owned()
    }

    pub fn is_c(&self) -> bool {
        self.source.extension().is_some_and(|e| e == "c")
    }
}

/// The value of `key` in the first comment, if it is there.
fn fact(text: &str, key: &str) -> Option<String> {
    text.lines().take(40).find_map(|line| {
        let line = line.trim_start_matches(['/', '#', '*', ' ']);
        line.strip_prefix(key)?.strip_prefix(": ").map(|v| v.trim().to_string())
    })
}

fn refusal(text: &str, key: &str) -> Option<Vec<Vec<String>>> {
    let split = |words: &str| words.split('&').map(|w| w.trim().to_string()).collect();
    Some(fact(text, key)?.split('|').map(split).collect())
}

fn words(text: &str, key: &str) -> Vec<String> {
    fact(text, key).unwrap_or_default().split_whitespace().map(str::to_string).collect()
}

/// Reads one source file; a file with variants gives several subjects.
pub fn read(source: &Path) -> io::Result<Vec<Subject>> {
    let text = fs::read_to_string(source)?;
    let bad = |what: &str| io::Error::other(format!("{}: {what}", source.display()));
    let what = fact(&text, "What").ok_or_else(|| bad("no line `What: ...` in its first comment"))?;
    let both = words(&text, "Options");
    let modes = match fact(&text, "Modes") {
        Some(list) => list.split_whitespace().map(str::to_string).collect(),
        None => vec!["plain".into(), "leave".into(), "twice".into()],
    };
    let seconds = match fact(&text, "Seconds") {
        Some(n) => n.parse().map_err(|_| bad("`Seconds` is no number"))?,
        None => 20,
    };
    let dumps = match fact(&text, "Dumps") {
        Some(n) => n.parse().map_err(|_| bad("`Dumps` is no number"))?,
        None => 1,
    };
    let huge_pages = match fact(&text, "Huge-pages") {
        Some(n) => n.parse().map_err(|_| bad("`Huge-pages` is no number"))?,
        None => 0,
    };
    let subject = Subject {
        name: source.file_stem().unwrap_or_default().to_string_lossy().into_owned(),
        source: source.into(),
        variant: None,
        what,
        build: words(&text, "Build"),
        dump_options: [both.clone(), words(&text, "Dump-options")].concat(),
        restore_options: [both, words(&text, "Restore-options")].concat(),
        modes,
        dumps,
        copy: fact(&text, "Copy").as_deref() != Some("no"),
        refused: refusal(&text, "Refused"),
        images: fact(&text, "Images"),
        go_file: fact(&text, "Go").as_deref() == Some("file"),
        dumps_itself: fact(&text, "Self").as_deref() == Some("yes"),
        ignore: words(&text, "Ignore"),
        needs: words(&text, "Needs"),
        huge_pages,
        patience: Duration::from_secs(seconds),
        terminal: fact(&text, "Terminal").as_deref() == Some("yes"),
        own_terminals: fact(&text, "Terminals").as_deref() == Some("own"),
        own_network: fact(&text, "Network").as_deref() == Some("own"),
    };
    let variants = words(&text, "Variants");
    if variants.is_empty() {
        return Ok(vec![subject]);
    }
    Ok(variants
        .into_iter()
        .map(|v| Subject {
            name: format!("{}.{v}", subject.name),
            refused: refusal(&text, &format!("Refused.{v}")).or_else(|| subject.refused.clone()),
            variant: Some(v),
            ..subject.clone()
        })
        .collect())
}

/// Every subject of a folder, by name.
pub fn read_folder(folder: &Path) -> io::Result<Vec<Subject>> {
    let mut subjects = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let known = ["c", "py", "sh", "go", "js", "java"];
        if path.extension().is_some_and(|e| known.iter().any(|k| e == *k)) {
            subjects.extend(read(&path)?);
        }
    }
    subjects.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(subjects)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_source_states_its_facts() {
        for folder in ["victims", "programs"] {
            let subjects = read_folder(&Path::new(env!("CARGO_MANIFEST_DIR")).join(folder)).unwrap();
            assert!(!subjects.is_empty());
            for s in &subjects {
                assert!(s.modes.iter().all(|m| ["plain", "leave", "twice"].contains(&m.as_str())), "{}", s.name);
            }
        }
    }
}
