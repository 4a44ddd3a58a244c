//! The engine that is going to be killed.

use criu_compel::{Error, Kind, Resume, SeizedTask};

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
