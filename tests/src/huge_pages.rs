//! Pages of hugetlbfs that a case's subject may use: added to the machine's pool for the time of the case.

use std::fs::File;
use std::io::{self, Read, Seek, Write};

use crate::verdict::{Outcome, Stop};

const POOL: &str = "/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages";

/// Gives the pages back when it is dropped. Only one case at a time has one: a pool that shrinks while pages of it are in use takes
/// what is free, whoever counts on that.
#[derive(Debug)]
pub struct Allowance(Option<(Pool, u64)>);

impl Allowance {
    /// Pages of 2 MiB, on top of what others use.
    pub fn of(pages: u64) -> Outcome<Allowance> {
        if pages == 0 {
            return Ok(Allowance(None));
        }
        let lacking = |e: String| Stop::Skipped(format!("{pages} huge pages cannot be had: {e}"));
        let grow = || {
            let mut pool = Pool::lock()?;
            let got = pool.change(|before| before + pages)?;
            Ok((pool, got))
        };
        let (pool, got) = grow().map_err(|e: io::Error| lacking(e.to_string()))?;
        let allowance = Allowance(Some((pool, got)));
        if got < pages { Err(lacking(format!("the machine has room for {got}"))) } else { Ok(allowance) }
    }
}

impl Drop for Allowance {
    fn drop(&mut self) {
        if let Some((pool, got)) = &mut self.0
            && let Err(e) = pool.change(|before| before.saturating_sub(*got))
        {
            eprintln!("{got} huge pages were not given back: {e}");
        }
    }
}

/// The machine's pool, locked.
#[derive(Debug)]
struct Pool(File);

impl Pool {
    fn lock() -> io::Result<Pool> {
        let pool = File::options().read(true).write(true).open(POOL)?;
        rustix::fs::flock(&pool, rustix::fs::FlockOperation::LockExclusive)?;
        Ok(Pool(pool))
    }

    /// Changes its size; gives by how many pages it has grown.
    fn change(&mut self, wanted: impl Fn(u64) -> u64) -> io::Result<u64> {
        let before = self.read()?;
        self.0.rewind()?;
        self.0.write_all(wanted(before).to_string().as_bytes())?;
        Ok(self.read()?.saturating_sub(before))
    }

    fn read(&mut self) -> io::Result<u64> {
        let mut text = String::new();
        self.0.rewind()?;
        self.0.read_to_string(&mut text)?;
        text.trim().parse().map_err(|_| io::ErrorKind::InvalidData.into())
    }
}
