//! Engines that do not get to their end.

use criu_compel::{Error, Kind, Resume, SeizedTask};

/// May open no more descriptors, one more, two more ... until an infection succeeds: each of its steps has failed once.
pub fn without_descriptors(pid: i32) -> Result<(), String> {
    let mut failures = 0;
    for limit in 3..64 {
        let (few, many) =
            (libc::rlimit { rlim_cur: limit, rlim_max: 1024 }, libc::rlimit { rlim_cur: 1024, rlim_max: 1024 });
        // SAFETY: the limit is read during the call.
        unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const few) };
        let said = visit(pid);
        // SAFETY: as above.
        unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const many) };
        match said {
            Err(_) => failures += 1,
            Ok(()) if failures > 2 => break,
            Ok(()) => return Err(format!("it took no descriptors ({failures})")),
        }
    }
    super::ready();
    Ok(())
}

/// It is going to be killed.
pub fn run(pid: i32) -> Result<(), String> {
    super::ready();
    loop {
        match visit(pid) {
            // The test looks for itself.
            Ok(()) | Err(Error { kind: Kind::Traced { .. }, .. }) => {}
            Err(e) => return Err(e.to_string()),
        }
    }
}

fn visit(pid: i32) -> Result<(), Error> {
    let mut infected = SeizedTask::seize(pid)?.infect()?;
    infected.query(&[])?;
    infected.cure()?.release(Resume::AsBefore)
}
