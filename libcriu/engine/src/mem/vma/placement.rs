//! Where there is room in this process's address space.

use std::ops::Range;

use super::USER_END;

/// The lowest address that is handed out: null pointers and small offsets from them stay invalid.
const LOWEST: u64 = 0x1000_0000;
/// The stack of the process may grow down to here; see `Space::of_this_process`.
const STACK_ROOM: u64 = 64 << 20;
/// Huge pages are this large; a mapping moves cheaply between places that agree modulo it.
const HUGE: u64 = 2 << 20;

/// Ranges that are taken, sorted and merged.
#[derive(Clone, Debug, Default)]
pub struct Space {
    taken: Vec<Range<u64>>,
}

/// A line of /proc/self/maps, as far as it matters here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnMapping {
    pub range: Range<u64>,
    pub name: String,
    /// Private anonymous memory, readable and writable, without a purpose that the kernel knows but the heap's.
    pub is_plain: bool,
}

/// The mappings of this process.
pub fn own_mappings() -> std::io::Result<Vec<OwnMapping>> {
    let file = std::fs::File::open("/proc/self/maps")?;
    let mut text = Vec::with_capacity(16 << 10);
    loop {
        text.reserve(4096);
        if rustix::io::read(&file, rustix::buffer::spare_capacity(&mut text))? == 0 {
            break;
        }
    }
    let text = String::from_utf8_lossy(&text);
    Ok(text.lines().filter_map(own_mapping).filter(|m| m.range.end <= USER_END).collect())
}

fn own_mapping(line: &str) -> Option<OwnMapping> {
    let mut words = line.split_ascii_whitespace();
    let (start, end) = words.next()?.split_once('-')?;
    let range = u64::from_str_radix(start, 16).ok()?..u64::from_str_radix(end, 16).ok()?;
    let rights = words.next()?;
    let name = words.nth(3).unwrap_or_default().to_owned();
    let is_plain = rights == "rw-p" && matches!(name.as_str(), "" | "[heap]");
    Some(OwnMapping { range, name, is_plain })
}

impl Space {
    /// What `mappings` take, with room for the stack and the heap of this process to grow.
    pub fn of_this_process(mappings: &[OwnMapping]) -> Space {
        let mut space = Space::default();
        for m in mappings {
            let room = match m.name.as_str() {
                "[stack]" => m.range.start.saturating_sub(STACK_ROOM)..m.range.end,
                "[heap]" => m.range.start..m.range.end.saturating_add(STACK_ROOM),
                _ => m.range.clone(),
            };
            space.take(room);
        }
        space
    }

    pub fn take(&mut self, range: Range<u64>) {
        let from = self.taken.partition_point(|t| t.end < range.start);
        let to = self.taken.partition_point(|t| t.start <= range.end);
        let merged = self.taken[from..to].iter().fold(range, |m, t| m.start.min(t.start)..m.end.max(t.end));
        self.taken.splice(from..to, [merged]);
    }

    pub fn is_free(&self, range: &Range<u64>) -> bool {
        let i = self.taken.partition_point(|t| t.end <= range.start);
        self.taken.get(i).is_none_or(|t| t.start >= range.end)
    }

    /// Finds `len` free bytes, agreeing with `like` modulo the size of a huge page, and takes them.
    pub fn find(&mut self, len: u64, like: u64) -> Option<u64> {
        self.find_like(len, like, HUGE)
    }

    /// As `find`, for another size of pages.
    pub fn find_like(&mut self, len: u64, like: u64, page: u64) -> Option<u64> {
        let mut gap_start = LOWEST;
        for t in self.taken.iter().map(|t| t.start..t.end).chain(std::iter::once(USER_END..USER_END)) {
            // A page to either side stays free, so that no neighbour is merged or grown into.
            let at = (gap_start + 4096).checked_next_multiple_of(page)? + like % page;
            if at.checked_add(len + 4096).is_some_and(|end| end <= t.start) {
                self.take(at..at + len);
                return Some(at);
            }
            gap_start = gap_start.max(t.end);
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_and_finds() {
        let mut s = Space::default();
        s.take(0x3000..0x4000);
        s.take(0x1000..0x2000);
        s.take(0x2000..0x3000);
        assert_eq!(s.taken, vec![0x1000..0x4000]);
        assert!(s.is_free(&(0x4000..0x5000)));
        assert!(!s.is_free(&(0x3fff..0x5000)));
        let at = s.find(0x5000, 0x7f00_0012_3000).unwrap();
        assert_eq!(at % HUGE, 0x7f00_0012_3000 % HUGE);
        assert!(!s.is_free(&(at..at + 0x5000)));
        assert_ne!(s.find(0x5000, 0x7f00_0012_3000).unwrap(), at);
    }

    #[test]
    fn finds_nothing_where_nothing_is() {
        let mut s = Space::default();
        s.take(0..USER_END - 0x1000);
        assert_eq!(s.find(0x4000, 0), None);
    }

    #[test]
    fn reads_its_own_mappings() {
        let own = own_mappings().unwrap();
        assert!(own.iter().any(|m| m.name == "[stack]"));
        let here = own_mappings as *const () as u64;
        assert!(!Space::of_this_process(&own).is_free(&(here..here + 1)));
    }
}
