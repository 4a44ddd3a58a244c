//! Valid image directories are mutated and restored: a clean error with nothing left, or a process; never a crash or a hang.
//!
//! A job is `mutated/SUBJECT/COUNT/SEED`. It runs where nothing but its own folder can be written to.

use std::fs;
use std::path::Path;
use std::time::Duration;

use criu_images::json::{self, Form};

use crate::apart::{self, Job, Surroundings};
use crate::case::Route;
use crate::descendants::{PATIENCE, adopt_orphans, kill_all, reap_all};
use crate::engine::{Answer, Engine};
use crate::layout::Layout;
use crate::suite::{self, wanted};
use crate::torture::Random;
use crate::traces::Outside;
use crate::trial::{Running, accepted};
use crate::verdict::{Outcome, Summary, failed};

/// Together they have every common kind of image.
pub const SUBJECTS: [&str; 13] = [
    "pipe.shared",
    "threads.tls",
    "unix_messages.descriptors",
    "tree_sessions",
    "sysv_shm.keyed",
    "sysv_queues.waiting",
    "file_unlinked",
    "signal_pending.process",
    "timers_posix",
    "epoll.nested",
    "memory_cow",
    "inet_connected.unread",
    "packet_ring.v3",
];

/// Boundaries of the fields there are.
const NUMBERS: [&str; 14] = [
    "0",
    "1",
    "2",
    "127",
    "4095",
    "4096",
    "65535",
    "2147483647",
    "2147483648",
    "4294967295",
    "140737488351232",
    "9223372036854775807",
    "18446744073709547520",
    "18446744073709551615",
];

pub fn jobs(count: u64, seed: u64, filters: &[String]) -> Vec<Job> {
    let name = |subject: &str| format!("mutated/{subject}/{count}/{seed}");
    let jobs = SUBJECTS.map(|s| Job { name: name(s), surroundings: Surroundings::Sealed });
    jobs.into_iter().filter(|j| wanted(&j.name, filters)).collect()
}

pub fn run(layout: &Layout, filters: &[String], count: u64, seed: u64, at_once: usize) -> Summary {
    apart::run(&jobs(count, seed, filters), layout, at_once)
}

/// `pipe.shared/10/1`
pub fn one(name: &str, layout: &Layout, folder: &Path) -> Outcome {
    let parts: Vec<&str> = name.split('/').collect();
    let [subject, count, seed] = parts[..] else { return Err(failed(format!("no test {name}"))) };
    let (count, seed) = (count.parse::<u64>().map_err(failed)?, seed.parse::<u64>().map_err(failed)?);
    adopt_orphans()?;
    let subjects = suite::subjects(layout).map_err(failed)?;
    let subject = subjects.iter().find(|s| s.name == subject).ok_or_else(|| failed(format!("no subject {subject}")))?;
    let engine = Engine { layout, route: Route::Command, patience: Duration::from_secs(60), terminal: false };
    let running = Running::start(subject, layout, folder)?;
    running.await_ready()?;
    let images = running.images(1)?;
    accepted("dump", &engine.dump(running.pid, &images, &subject.dump_options)?)?;
    reap_all(PATIENCE)?;
    let mut random = Random::new(seed);
    let (mut findings, mut restored) = (Vec::new(), 0);
    for n in 0..count {
        let spoiled = folder.with_extension(format!("mutated-{n}"));
        let what = mutate(&images, &spoiled, &mut random)?;
        let outside = Outside::look(folder);
        let outcome = engine.restore(&spoiled, &subject.restore_options).and_then(|a| {
            restored += u64::from(a.ok);
            judge(&a, &outside, folder)
        });
        kill_all();
        match outcome {
            Ok(()) => fs::remove_dir_all(&spoiled).map_err(failed)?,
            Err(stop) => findings.push(format!("{}: {what}: {stop:?}", spoiled.display())),
        }
        if findings.len() > 3 {
            break;
        }
    }
    println!("{restored} of {count} were restored");
    if findings.is_empty() { Ok(()) } else { Err(failed(findings.join("\n"))) }
}

fn judge(answer: &Answer, outside: &Outside, folder: &Path) -> Outcome {
    let text = format!("{}\n{}", answer.output, answer.log);
    if let Some(line) = text.lines().find(|l| l.contains("panicked")) {
        return Err(failed(format!("a panic: {line}")));
    }
    if answer.ok {
        // Whatever it is, it is there; it may be dead by now, of what its memory has become.
        return Ok(());
    }
    if !answer.ended.starts_with("exit") {
        return Err(failed(format!("the engine ended by {}", answer.ended)));
    }
    if !text.contains("Error") {
        return Err(failed("it failed without saying why"));
    }
    reap_all(PATIENCE)?;
    outside.unchanged(folder)
}

/// A copy of the directory with one to three changes; what they are.
fn mutate(images: &Path, to: &Path, random: &mut Random) -> Outcome<String> {
    fs::create_dir_all(to).map_err(failed)?;
    let mut names = Vec::new();
    for entry in fs::read_dir(images).map_err(failed)?.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.ends_with(".img") {
            fs::copy(entry.path(), to.join(&name)).map_err(failed)?;
            names.push(name);
        }
    }
    names.sort();
    let mut what = Vec::new();
    for _ in 0..1 + random.below(3) {
        let name = &names[random.below(names.len() as u64) as usize];
        let path = to.join(name);
        let Ok(bytes) = fs::read(&path) else { continue };
        let (how, bytes) = match random.below(10) {
            0 => ("removed", None),
            1 => ("bytes", Some(bytes_changed(bytes, random))),
            2 => {
                let other = &names[random.below(names.len() as u64) as usize];
                ("exchanged", fs::read(to.join(other)).ok())
            }
            _ => ("numbers", Some(numbers_changed(name, &bytes, random).unwrap_or(bytes))),
        };
        match bytes {
            Some(bytes) => fs::write(&path, bytes).map_err(failed)?,
            None => fs::remove_file(&path).map_err(failed)?,
        }
        what.push(format!("{name} {how}"));
    }
    Ok(what.join(", "))
}

fn bytes_changed(mut bytes: Vec<u8>, random: &mut Random) -> Vec<u8> {
    for _ in 0..1 + random.below(4) {
        let at = random.below(bytes.len() as u64) as usize;
        match random.below(4) {
            0 => bytes.truncate(at),
            1 => bytes.insert(at.min(bytes.len()), random.below(256) as u8),
            _ if at < bytes.len() => bytes[at] = random.below(256) as u8,
            _ => {}
        }
    }
    bytes
}

/// As JSON, some numbers become others: a boundary, a neighbour, another number of the same image. `None` for what is no JSON.
fn numbers_changed(name: &str, bytes: &[u8], random: &mut Random) -> Option<Vec<u8>> {
    let text = json::decode_to_string(name, bytes, Form::Compact).ok()?;
    let tokens = numbers(&text);
    let mut out = text.clone();
    for _ in 0..1 + random.below(2) {
        let (from, to) = *tokens.get(random.below(tokens.len() as u64) as usize)?;
        let old = &text[from..to];
        let new = match random.below(3) {
            0 => NUMBERS[random.below(NUMBERS.len() as u64) as usize].to_string(),
            1 => old.parse::<u64>().ok()?.wrapping_add(1).wrapping_sub(2 * random.below(2)).to_string(),
            _ => {
                let (from, to) = tokens[random.below(tokens.len() as u64) as usize];
                text[from..to].to_string()
            }
        };
        if out.get(from..to) == Some(old) {
            out.replace_range(from..to, &new);
        }
    }
    json::encode(name, out.as_bytes()).ok()
}

/// Where the numbers of a JSON text are, but for those in strings.
fn numbers(text: &str) -> Vec<(usize, usize)> {
    let (mut found, mut in_string, mut escaped, mut start) = (Vec::new(), false, false, None);
    for (at, byte) in text.bytes().enumerate() {
        if byte.is_ascii_digit() && !in_string {
            start = start.or(Some(at));
            continue;
        }
        if let Some(from) = start.take() {
            found.push((from, at));
        }
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = in_string,
            b'"' => in_string = !in_string,
            _ => {}
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_outside_of_strings() {
        let text = r#"{"a1":12,"b":["x\"3",-4,56]}"#;
        let found: Vec<&str> = numbers(text).into_iter().map(|(from, to)| &text[from..to]).collect();
        assert_eq!(found, ["12", "4", "56"]);
    }
}
