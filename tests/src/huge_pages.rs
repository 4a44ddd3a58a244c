//! Pages of hugetlbfs that a case's subject may use: added to the machine's pool for the time of the case.

use std::fs::File;
use std::io::{self, Read, Seek, Write};

use crate::verdict::{Outcome, Stop};

const POOL: &str = "/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages";

/// Gives the pages back when it is dropped.
#[derive(Debug)]
pub struct Allowance(u64);

impl Allowance {
    /// Pages of 2 MiB, on top of what others use.
    pub fn of(pages: u64) -> Outcome<Allowance> {
        if pages == 0 {
            return Ok(Allowance(0));
        }
        let lacking = |e: String| Stop::Skipped(format!("{pages} huge pages cannot be had: {e}"));
        let got = change(|before| before + pages).map_err(|e| lacking(e.to_string()))?;
        let allowance = Allowance(got);
        if got < pages { Err(lacking(format!("the machine has room for {got}"))) } else { Ok(allowance) }
    }
}

impl Drop for Allowance {
    fn drop(&mut self) {
        if self.0 > 0
            && let Err(e) = change(|before| before.saturating_sub(self.0))
        {
            eprintln!("{} huge pages were not given back: {e}", self.0);
        }
    }
}

/// Changes the size of the pool, which other cases change as well; gives by how many pages it has grown.
fn change(wanted: impl Fn(u64) -> u64) -> io::Result<u64> {
    let mut pool = File::options().read(true).write(true).open(POOL)?;
    rustix::fs::flock(&pool, rustix::fs::FlockOperation::LockExclusive)?;
    let before = read(&mut pool)?;
    pool.rewind()?;
    pool.write_all(wanted(before).to_string().as_bytes())?;
    Ok(read(&mut pool)?.saturating_sub(before))
}

fn read(pool: &mut File) -> io::Result<u64> {
    let mut text = String::new();
    pool.rewind()?;
    pool.read_to_string(&mut text)?;
    text.trim().parse().map_err(|_| io::ErrorKind::InvalidData.into())
}
