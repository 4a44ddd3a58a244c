//! Drives families by seeded mutations of their corpus.
//!
//!     fuzz-plain FAMILY SECONDS SEED [ARTIFACTS]
//!     fuzz-plain FAMILY INPUTSx SEED [ARTIFACTS]
//!     fuzz-plain FAMILY seeds FOLDER
//!     fuzz-plain FAMILY INPUT-FILE...
//!
//! `seeds` writes what mutations begin with. The others print how many inputs were tried. The input that is being tried lies in
//! `/dev/shm/fuzz-FAMILY-PID`, so that it is known whatever becomes of the process; one that panics is kept in the folder of
//! artifacts. The exit code is 0 when all went well.

use std::fs;
use std::os::unix::fs::FileExt;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use criu_fuzz::mutate::{Random, mutate};
use criu_fuzz::{FAMILIES, Family, corpus};

/// The longest that one input may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// A few kilobytes of input need no more memory.
const MEMORY_BYTES: u64 = 2 << 30;
const FINDINGS: usize = 10;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let Some(family) = args.first().and_then(|name| FAMILIES.into_iter().find(|f| f.name == name.as_str())) else {
        let names: Vec<&str> = FAMILIES.iter().map(|f| f.name).collect();
        eprintln!("fuzz-plain {} SECONDS SEED [ARTIFACTS]", names.join("|"));
        return ExitCode::FAILURE;
    };
    if args.get(1).is_some_and(|a| a == "seeds") {
        return seeds(family, Path::new(args.get(2).map_or(".", |f| f)));
    }
    match (args.get(1).and_then(|a| Amount::parse(a)), args.get(2).map(|a| a.parse())) {
        (Some(amount), Some(Ok(seed))) => {
            let artifacts = args.get(3).map_or_else(|| PathBuf::from("."), PathBuf::from);
            drive(family, amount, seed, &artifacts)
        }
        _ => again(family, &args[1..]),
    }
}

/// How much to do.
#[derive(Clone, Copy, Debug)]
enum Amount {
    Time(Duration),
    Inputs(u64),
}

impl Amount {
    /// `60` or `20000x`
    fn parse(text: &str) -> Option<Amount> {
        match text.strip_suffix('x') {
            Some(n) => n.parse().ok().map(Amount::Inputs),
            None => text.parse().ok().map(Duration::from_secs).map(Amount::Time),
        }
    }

    fn is_done(self, start: Instant, tried: u64) -> bool {
        match self {
            Amount::Time(time) => start.elapsed() >= time,
            Amount::Inputs(n) => tried >= n,
        }
    }
}

/// A file for each input of the corpus, as fuzzers that look for more coverage want it.
fn seeds(family: Family, folder: &Path) -> ExitCode {
    let mut written = fs::create_dir_all(folder);
    for (n, input) in corpus::load(family.name).iter().enumerate() {
        written = written.and_then(|()| fs::write(folder.join(n.to_string()), input));
    }
    match written {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("{}: {e}", folder.display());
            ExitCode::FAILURE
        }
    }
}

/// Inputs from files, one after the other; a panic ends it.
fn again(family: Family, files: &[String]) -> ExitCode {
    for file in files {
        match fs::read(file) {
            Ok(input) => (family.run)(&input),
            Err(e) => {
                eprintln!("{file}: {e}");
                return ExitCode::FAILURE;
            }
        }
    }
    ExitCode::SUCCESS
}

fn drive(family: Family, amount: Amount, seed: u64, artifacts: &Path) -> ExitCode {
    let limit = rustix::process::Rlimit { current: Some(MEMORY_BYTES), maximum: Some(MEMORY_BYTES) };
    let limited = rustix::process::setrlimit(rustix::process::Resource::As, limit);
    let current = PathBuf::from(format!("/dev/shm/fuzz-{}-{}", family.name, std::process::id()));
    let kept = fs::File::options().create(true).truncate(true).write(true).open(&current);
    let (Ok(()), Ok(kept)) = (limited, kept) else {
        eprintln!("no limit of memory, or no {}", current.display());
        return ExitCode::FAILURE;
    };
    let begun = Arc::new(AtomicU64::new(0));
    let start = Instant::now();
    watch(Arc::clone(&begun), start, current.clone());
    let inputs = corpus::load(family.name);
    let mut random = Random::new(seed);
    let (mut tried, mut findings) = (0u64, 0);
    while !amount.is_done(start, tried) && findings < FINDINGS {
        let one = &inputs[random.below(inputs.len())];
        let other = &inputs[random.below(inputs.len())];
        let input = if (tried as usize) < inputs.len() {
            inputs[tried as usize].clone()
        } else {
            mutate(one, other, &mut random)
        };
        tried += 1;
        let _ = kept.set_len(0).and_then(|()| kept.write_all_at(&input, 0));
        begun.store(start.elapsed().as_millis() as u64, Ordering::Relaxed);
        if catch_unwind(|| (family.run)(&input)).is_err() {
            findings += 1;
            let name = artifacts.join(format!("{}-{seed}-{tried}", family.name));
            let written = fs::create_dir_all(artifacts).and_then(|()| fs::write(&name, &input));
            eprintln!("finding: {} ({written:?})", name.display());
        }
    }
    let _ = fs::remove_file(&current);
    println!("{}: {tried} inputs in {:.0} s, {findings} findings", family.name, start.elapsed().as_secs_f64());
    if findings == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Ends the process when one input takes too long; the input stays where it is.
fn watch(begun: Arc<AtomicU64>, start: Instant, current: PathBuf) {
    std::thread::spawn(move || {
        loop {
            std::thread::sleep(Duration::from_millis(500));
            let since = start.elapsed().saturating_sub(Duration::from_millis(begun.load(Ordering::Relaxed)));
            if since > PATIENCE {
                eprintln!("finding: {} takes longer than {PATIENCE:?}", current.display());
                std::process::abort();
            }
        }
    });
}
