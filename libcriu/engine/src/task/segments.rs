//! Segments of set_thread_area(2), three for each thread: ia32 code finds its thread's data by one.

use criu_compel::ptrace::{THREAD_AREAS, ThreadArea};
use criu_images::messages::UserDescT;

const SEG_32BIT: u32 = 1;
const CONTENTS_L: u32 = 1 << 1;
const CONTENTS_H: u32 = 1 << 2;
const READ_EXEC_ONLY: u32 = 1 << 3;
const LIMIT_IN_PAGES: u32 = 1 << 4;
const SEG_NOT_PRESENT: u32 = 1 << 5;
const USEABLE: u32 = 1 << 6;

/// The image of one.
pub fn entry(&[entry_number, base_addr, limit, flags]: &ThreadArea) -> UserDescT {
    let is = |flag| flags & flag != 0;
    UserDescT {
        entry_number,
        base_addr,
        limit,
        seg_32bit: is(SEG_32BIT),
        contents_h: is(CONTENTS_H),
        contents_l: is(CONTENTS_L),
        read_exec_only: is(READ_EXEC_ONLY),
        limit_in_pages: is(LIMIT_IN_PAGES),
        seg_not_present: is(SEG_NOT_PRESENT),
        usable: is(USEABLE),
    }
}

/// One from an image; `None` when it is empty, as every thread has it to begin with.
pub fn area(e: &UserDescT) -> Option<ThreadArea> {
    if e.base_addr == 0 && e.limit == 0 && e.seg_not_present {
        return None;
    }
    let flags = [
        (SEG_32BIT, e.seg_32bit),
        (CONTENTS_H, e.contents_h),
        (CONTENTS_L, e.contents_l),
        (READ_EXEC_ONLY, e.read_exec_only),
        (LIMIT_IN_PAGES, e.limit_in_pages),
        (SEG_NOT_PRESENT, e.seg_not_present),
        (USEABLE, e.usable),
    ];
    let flags = flags.iter().filter(|(_, is)| *is).fold(0, |all, (flag, _)| all | flag);
    Some([e.entry_number, e.base_addr, e.limit, flags])
}

/// Why they cannot be restored; `None` when they can.
pub fn refusal(tls: &[UserDescT]) -> Option<String> {
    let other = tls.iter().find(|e| !THREAD_AREAS.contains(&e.entry_number))?;
    Some(format!("it has a segment {} of set_thread_area", other.entry_number))
}

/// Where the segment begins that a selector names.
pub fn base(tls: &[UserDescT], selector: u64) -> Option<u64> {
    tls.iter().find(|e| u64::from(e.entry_number) == selector >> 3).map(|e| e.base_addr.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_and_back() {
        for flags in 0..0x80 {
            let there: ThreadArea = [13, 0xf7c0_0940, 0xf_ffff, flags];
            assert_eq!(area(&entry(&there)), Some(there));
        }
        assert_eq!(area(&entry(&[12, 0, 0, READ_EXEC_ONLY | SEG_NOT_PRESENT])), None);
    }

    #[test]
    fn only_the_three_are_known() {
        let with = |number| [entry(&[12, 0, 0, 0x28]), entry(&[number, 0x1000, 1, 0x51])];
        assert_eq!(refusal(&with(14)), None);
        assert!(refusal(&with(3)).is_some_and(|why| why.contains("segment 3")));
        assert_eq!(base(&with(14), 14 << 3 | 3), Some(0x1000));
    }
}
