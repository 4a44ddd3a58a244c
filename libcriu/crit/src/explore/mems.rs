//! Address spaces: their areas, and the pages that were saved of each.

use criu_images::messages::{MmEntry, VmaEntry};
use criu_images::{Kind, PAGE_BYTES};

use super::{View, broken};
use crate::checkpoint::Checkpoint;
use crate::failure::Result;
use crate::json::{int, list, object, text};

const FILE: u32 = 1 << 6 | 1 << 7;
const SHARED: u32 = 1 << 7 | 1 << 8;
const NAMES: [(u32, &str); 8] = [
    (1 << 1, "[stack]"),
    (1 << 2, "[vsyscall]"),
    (1 << 3, "[vdso]"),
    (1 << 5, "[heap]"),
    (1 << 12, "[vvar]"),
    (1 << 10, "SysV shared memory"),
    (1 << 13, "AIO ring"),
    (1 << 11, "packet socket"),
];

fn name(checkpoint: &Checkpoint, vma: &VmaEntry) -> String {
    if let Some((_, name)) = NAMES.iter().find(|(bit, _)| vma.status & bit != 0) {
        return (*name).to_owned();
    }
    match vma.status {
        s if s & FILE != 0 => {
            u32::try_from(vma.shmid).map_or_else(|_| "(no file)".into(), |id| checkpoint.file_name(id))
        }
        s if s & SHARED != 0 => format!("shared memory {}", vma.shmid),
        _ => String::new(),
    }
}

fn protection(vma: &VmaEntry) -> String {
    let bit = |bit: u32, c: char| if vma.prot & bit != 0 { c } else { '-' };
    [bit(1, 'r'), bit(2, 'w'), bit(4, 'x'), if vma.status & SHARED != 0 { 's' } else { 'p' }].iter().collect()
}

pub(super) fn mems(checkpoint: &Checkpoint) -> Result<View> {
    let (mut out, mut rows) = (String::new(), Vec::new());
    for task in &checkpoint.tasks {
        let Some(mm) = checkpoint.mm(task)? else { continue };
        let exe = checkpoint.file_name(mm.exe_file_id);
        out += &format!("{}\n     exe {}\n", task.pid(), exe.escape_debug());
        let mut areas = Vec::new();
        for vma in &mm.vmas {
            let (name, prot) = (name(checkpoint, vma), protection(vma));
            let line =
                format!("     {:012x}-{:012x} {prot} {:08x} {}", vma.start, vma.end, vma.pgoff, name.escape_debug());
            out += line.trim_end();
            out.push('\n');
            areas.push(object([
                ("start", int(vma.start)),
                ("end", int(vma.end)),
                ("prot", text(&prot)),
                ("offset", int(vma.pgoff)),
                ("name", text(&name)),
            ]));
        }
        rows.push(object([("pid", int(task.pid())), ("exe", text(&exe)), ("areas", list(areas))]));
    }
    Ok((out, list(rows)))
}

/// Each run of saved pages under the areas it lies in.
pub(super) fn rss(checkpoint: &Checkpoint) -> Result<View> {
    let (mut out, mut rows) = (String::new(), Vec::new());
    for task in &checkpoint.tasks {
        let pid = u64::from(task.pid());
        let (Some(mm), Some(pagemap)) = (checkpoint.mm(task)?, checkpoint.dir.pagemap(Kind::Pagemap, pid)?) else {
            continue;
        };
        out += &format!("{pid}\n");
        let mut runs = Vec::new();
        for record in &pagemap.records {
            let (pages, start) = (record.page_count(), record.vaddr);
            let end = start + pages * PAGE_BYTES;
            let names = overlapped(checkpoint, &mm, start, end);
            if names.is_empty() {
                return Err(broken(&Kind::Pagemap.file_name(pid), format!("pages at {start:#x} are in no area")));
            }
            let place = match (record.is_in_parent(), record.is_present()) {
                (true, _) => "parent",
                (_, true) => "here",
                _ => "lazy",
            };
            let line =
                format!("     {start:012x}-{end:012x} {pages:>8} {place:<6} {}", names.join(", ").escape_debug());
            out += line.trim_end();
            out.push('\n');
            runs.push(object([
                ("start", int(start)),
                ("pages", int(pages)),
                ("place", text(place)),
                ("areas", list(names.iter().map(text))),
            ]));
        }
        rows.push(object([("pid", int(pid)), ("pages", list(runs))]));
    }
    Ok((out, list(rows)))
}

fn overlapped(checkpoint: &Checkpoint, mm: &MmEntry, start: u64, end: u64) -> Vec<String> {
    let first = mm.vmas.partition_point(|v| v.end <= start);
    mm.vmas[first..].iter().take_while(|v| v.start < end).map(|v| name(checkpoint, v)).collect()
}
