//! The outcome of a dump on its way from one process of the engine to another.

use super::DumpOutcome;
use crate::error::{Blocker, Error, Phase, Result};
use crate::stats::DumpStats;

const PHASES: [Phase; 8] = [
    Phase::Options,
    Phase::Freeze,
    Phase::Collect,
    Phase::Infect,
    Phase::Save,
    Phase::Commit,
    Phase::Release,
    Phase::Service,
];
const GOOD: u64 = 0;
const BAD: u64 = 1;

pub(super) fn encode(result: &Result<DumpOutcome>) -> Vec<u8> {
    let mut out = Writer(Vec::new());
    match result {
        Ok(outcome) => {
            out.number(GOOD);
            out.number(outcome.tasks as u64);
            let s = outcome.stats;
            for n in [s.freezing_us, s.frozen_us, s.memdump_us, s.memwrite_us, s.snapshots, s.copied_frozen] {
                out.number(n.into());
            }
            for n in [
                s.pages_scanned,
                s.pages_skipped_parent,
                s.pages_written,
                s.pages_lazy,
                s.shpages_scanned,
                s.shpages_skipped_parent,
                s.shpages_written,
            ] {
                out.number(n);
            }
        }
        Err(e) => {
            out.number(BAD);
            out.number(PHASES.iter().position(|p| *p == e.phase).unwrap_or(0) as u64);
            out.number(e.errno as u64);
            out.object(e.pid, [&e.object, &e.cause, &e.hint]);
            out.number(e.blockers.len() as u64);
            for b in &e.blockers {
                out.object(b.pid, [&b.object, &b.cause, &b.hint]);
            }
        }
    }
    out.0
}

/// `None` when the bytes are no whole verdict.
pub(super) fn decode(bytes: &[u8]) -> Option<Result<DumpOutcome>> {
    let mut from = Reader(bytes);
    if from.number()? == GOOD {
        let tasks = from.number()? as usize;
        let mut us = || from.number().map(|n| n as u32);
        let (freezing_us, frozen_us, memdump_us, memwrite_us) = (us()?, us()?, us()?, us()?);
        let (snapshots, copied_frozen) = (us()?, us()?);
        let stats = DumpStats {
            freezing_us,
            frozen_us,
            memdump_us,
            memwrite_us,
            pages_scanned: from.number()?,
            pages_skipped_parent: from.number()?,
            pages_written: from.number()?,
            pages_lazy: from.number()?,
            shpages_scanned: from.number()?,
            shpages_skipped_parent: from.number()?,
            shpages_written: from.number()?,
            snapshots,
            copied_frozen,
        };
        return Some(Ok(DumpOutcome { tasks, stats }));
    }
    let phase = *PHASES.get(from.number()? as usize)?;
    let errno = from.number()? as i32;
    let (pid, [object, cause, hint]) = from.object()?;
    let blockers = (0..from.number()?).map(|_| {
        let (pid, [object, cause, hint]) = from.object()?;
        Some(Blocker { pid, object, cause, hint })
    });
    let blockers = blockers.collect::<Option<Vec<_>>>()?;
    Some(Err(Error { phase, pid, object, cause, hint, errno, blockers }))
}

struct Writer(Vec<u8>);

impl Writer {
    fn number(&mut self, n: u64) {
        self.0.extend_from_slice(&n.to_le_bytes());
    }

    fn object(&mut self, pid: i32, texts: [&String; 3]) {
        self.number(pid as u64);
        for text in texts {
            self.number(text.len() as u64);
            self.0.extend_from_slice(text.as_bytes());
        }
    }
}

struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn number(&mut self) -> Option<u64> {
        let (number, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(u64::from_le_bytes(*number))
    }

    fn text(&mut self) -> Option<String> {
        let len = usize::try_from(self.number()?).ok()?;
        let (text, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(String::from_utf8_lossy(text).into_owned())
    }

    fn object(&mut self) -> Option<(i32, [String; 3])> {
        Some((self.number()? as i32, [self.text()?, self.text()?, self.text()?]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrives_as_it_was() {
        let stats = DumpStats {
            frozen_us: 7,
            pages_written: 1 << 40,
            shpages_written: 3,
            snapshots: 2,
            ..DumpStats::default()
        };
        let good = DumpOutcome { tasks: 5, stats };
        assert_eq!(decode(&encode(&Ok(good))).unwrap().unwrap(), good);
        let blocker = |n| Blocker::new(n, format!("fd {n}"), "why").hint("how");
        let bad = Error::refused(Phase::Collect, vec![blocker(1), blocker(2)]).errno(libc::ESRCH);
        let bytes = encode(&Err(bad.clone()));
        let got = decode(&bytes).unwrap().unwrap_err();
        assert_eq!((got.phase, got.errno, got.to_string()), (bad.phase, bad.errno, bad.to_string()));
        assert_eq!(got.blockers, bad.blockers);
        for cut in 0..bytes.len() {
            assert!(decode(&bytes[..cut]).is_none(), "{cut}");
        }
    }
}
