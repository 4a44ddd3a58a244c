//! Work that two threads share. They are gone when it is done: the engine forks as a single-threaded process.

use std::sync::atomic::{AtomicUsize, Ordering};

/// A second thread is started for no less than this.
const WORTHWHILE: usize = 24;

/// `work` for every item; the results come in the items' order.
pub(crate) fn map<T: Sync, R: Send>(items: &[T], work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    if items.len() < WORTHWHILE {
        return items.iter().map(work).collect();
    }
    let next = AtomicUsize::new(0);
    let share = || {
        let mut done = Vec::with_capacity(items.len() / 2 + 1);
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            let Some(item) = items.get(at) else { return done };
            done.push((at, work(item)));
        }
    };
    let mut all = std::thread::scope(|s| {
        // Without a second thread (a limit on tasks) one does it all.
        let second = std::thread::Builder::new().name("look".into()).spawn_scoped(s, share).ok();
        let mut mine = share();
        mine.extend(second.map_or_else(Vec::new, |t| t.join().unwrap_or_else(|p| std::panic::resume_unwind(p))));
        mine
    });
    all.sort_unstable_by_key(|(at, _)| *at);
    all.into_iter().map(|(_, result)| result).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_stand_in_order() {
        for n in [0, 1, WORTHWHILE - 1, WORTHWHILE, 1000] {
            let items: Vec<usize> = (0..n).collect();
            assert_eq!(map(&items, |i| i * 3), items.iter().map(|i| i * 3).collect::<Vec<_>>());
        }
    }
}
