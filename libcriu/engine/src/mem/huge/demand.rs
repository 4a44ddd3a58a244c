//! How many huge pages a restore takes, and whether there are as many.

use std::collections::BTreeMap;
use std::io;

use super::{POOLS, shown};
use crate::error::Blocker;

/// Pages by their size in bytes.
#[derive(Debug, Default)]
pub(crate) struct Demand(BTreeMap<u64, Wanted>);

/// What pages of one size are for.
#[derive(Debug, Default)]
struct Wanted {
    pages: u64,
    /// The task and the object that take most.
    most: (u64, i32, String),
}

impl Demand {
    /// `object` of the task `pid` takes as many.
    pub fn add(&mut self, page_bytes: u64, pages: u64, pid: i32, object: impl FnOnce() -> String) {
        let wanted = self.0.entry(page_bytes).or_default();
        wanted.pages += pages;
        if pages > wanted.most.0 {
            wanted.most = (pages, pid, object());
        }
    }

    /// What the machine cannot give now.
    pub fn unmet(&self) -> Vec<Blocker> {
        self.unmet_by(free)
    }

    fn unmet_by(&self, free: impl Fn(u64) -> io::Result<u64>) -> Vec<Blocker> {
        let blocker = |(&page_bytes, wanted): (&u64, &Wanted)| {
            let (pages, size) = (wanted.pages, shown(page_bytes));
            let (cause, hint) = match free(page_bytes) {
                Ok(free) if free >= pages => return None,
                Ok(free) => (
                    format!("needs {pages} pages of {size}, {free} are free"),
                    format!("allow at least {} more: {}", pages - free, pool(page_bytes)),
                ),
                Err(e) => {
                    (format!("needs {pages} pages of {size}: {e}"), format!("boot a kernel with pages of {size}"))
                }
            };
            let (most, pid, object) = &wanted.most;
            let cause = if *most < pages { format!("takes {most} huge pages, and the tree {cause}") } else { cause };
            Some(Blocker::new(*pid, object, cause).hint(hint))
        };
        self.0.iter().filter(|(_, wanted)| wanted.pages > 0).filter_map(blocker).collect()
    }
}

/// Where an administrator allows more.
fn pool(page_bytes: u64) -> String {
    if page_bytes == 2 << 20 {
        return "sysctl vm.nr_hugepages (or vm.nr_overcommit_hugepages)".into();
    }
    format!("{POOLS}/hugepages-{}kB/nr_hugepages", page_bytes >> 10)
}

/// Pages that nobody has and that are put aside for nobody; those that the kernel would make on demand included.
fn free(page_bytes: u64) -> io::Result<u64> {
    let read = |name: &str| {
        let text = std::fs::read_to_string(format!("{POOLS}/hugepages-{}kB/{name}", page_bytes >> 10))?;
        text.trim().parse::<u64>().map_err(|_| io::Error::from(io::ErrorKind::InvalidData))
    };
    let there = read("free_hugepages")?.saturating_sub(read("resv_hugepages")?);
    Ok(there + read("nr_overcommit_hugepages")?.saturating_sub(read("surplus_hugepages")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_named() {
        const SMALL: u64 = 2 << 20;
        const LARGE: u64 = 1 << 30;
        let mut demand = Demand::default();
        demand.add(SMALL, 3, 10, || "mapping 0x1-0x2".into());
        assert!(demand.unmet_by(|_| Ok(3)).is_empty());
        let alone = demand.unmet_by(|_| Ok(1));
        assert_eq!(alone[0].cause, "needs 3 pages of 2 MiB, 1 are free");
        demand.add(SMALL, 4, 11, || "memfd x".into());
        demand.add(LARGE, 1, 10, || "mapping 0x3-0x4".into());
        demand.add(64 << 10, 0, 10, || "nothing".into());
        let none = |size| if size == SMALL { Ok(6) } else { Err(io::ErrorKind::NotFound.into()) };
        let unmet = demand.unmet_by(none);
        assert_eq!(unmet.len(), 2);
        assert_eq!((unmet[0].pid, unmet[0].object.as_str()), (11, "memfd x"));
        assert_eq!(unmet[0].cause, "takes 4 huge pages, and the tree needs 7 pages of 2 MiB, 6 are free");
        assert!(unmet[0].hint.contains("1 more") && unmet[0].hint.contains("vm.nr_hugepages"), "{}", unmet[0].hint);
        assert!(unmet[1].cause.starts_with("needs 1 pages of 1 GiB"), "{}", unmet[1].cause);
    }
}
