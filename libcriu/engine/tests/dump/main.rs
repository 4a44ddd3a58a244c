//! Dumps of real processes that go on: the images say what the process holds, and it finds itself unharmed.

mod victim;

use criu_images::Kind;
use criu_images::messages::*;
use victim::{Checkpoint, State, Victim};

struct Plain;

impl State for Plain {
    type Held = Vec<u8>;
    fn build() -> Vec<u8> {
        (0..1 << 20).map(|i| (i >> 3) as u8).collect()
    }
    fn check(held: Vec<u8>) -> bool {
        held.iter().enumerate().all(|(i, b)| *b == (i >> 3) as u8)
    }
}

#[test]
fn a_plain_process() {
    let v = Victim::start::<Plain>();
    let c = Checkpoint::new();
    let t = std::time::Instant::now();
    let outcome = c.dump(v.pid).unwrap_or_else(|e| panic!("{e}\n{:#?}", e.blockers));
    eprintln!("{:?} {outcome:?}", t.elapsed());
    assert_eq!(outcome.tasks, 1);
    let pid = v.pid;
    let core: CoreEntry = c.images.read_one(Kind::Core, pid as u64).unwrap();
    eprintln!("{:?}", c.names());
    let tc = core.tc.unwrap();
    assert_eq!((tc.task_state, tc.sigactions.len()), (1, 62));
    assert!(v.checks_itself());
}
