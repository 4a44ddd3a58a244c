//! Dumps of real processes that go on: the images say what the process holds, and it finds itself unharmed.

mod memory;
mod refused;
mod snapshot;
mod tasks;
mod tree;
mod victim;

use criu_images::Kind;
use criu_images::messages::{CoreEntry, InventoryEntry};
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
fn a_plain_process_twice() {
    let v = Victim::start::<Plain>();
    for _ in 0..2 {
        let c = Checkpoint::new();
        let outcome = c.dump(v.pid).unwrap_or_else(|e| panic!("{e}\n{:#?}", e.blockers));
        assert_eq!(outcome.tasks, 1);
        let id = v.pid as u64;
        let core: CoreEntry = c.images.read_one(Kind::Core, id).unwrap();
        let tc = core.tc.unwrap();
        assert_eq!((tc.task_state, tc.sigactions.len(), tc.rlimits.unwrap().rlimits.len()), (1, 62, 16));
        let inventory: InventoryEntry = c.images.read_one(Kind::Inventory, 0).unwrap();
        assert_eq!((inventory.img_version, inventory.root_cg_set), (2, Some(1)));
        assert_eq!(inventory.dump_criu_run_id.map(|id| id.len()), Some(36));
        let wanted = [
            "core",
            "fdinfo-2",
            "files",
            "fs",
            "ids",
            "inventory",
            "mm",
            "pagemap",
            "pages-1",
            "pstree",
            "seccomp",
            "timens-0",
        ];
        let names = c.names();
        let found: Vec<&str> =
            names.iter().map(|n| n.trim_end_matches(".img").trim_end_matches(&format!("-{}", v.pid))).collect();
        assert_eq!(found, wanted);
    }
    assert!(v.checks_itself());
}

#[test]
fn no_such_process() {
    let c = Checkpoint::new();
    for pid in [0, -1, i32::MAX, 1 << 22] {
        let e = c.dump(pid).unwrap_err();
        assert_eq!(e.errno, libc::ESRCH, "{e}");
    }
    let e = c.dump(std::process::id() as i32).unwrap_err();
    assert!(e.cause.contains("itself"), "{e}");
    assert_eq!(c.names(), Vec::<String>::new());
}
