//! Decides how a task gets its vDSO.

use std::ops::Range;

use criu_compel::is_compat_vdso;

use crate::mem::vma::placement::OwnMapping;
use crate::mem::vma::restore::Layout;

/// The vDSO of the running kernel, as this process has it.
#[derive(Clone, Debug)]
pub struct Own {
    /// vvar, vvar_vclock and the code, each its own mapping, in the order of addresses.
    pub parts: Vec<Range<u64>>,
    pub code: Range<u64>,
}

/// What is done about a task's vDSO.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Choice {
    /// The task has none.
    Nothing,
    /// These of the parts, or pieces of them, move by this displacement; the task has unmapped the others.
    Move { displacement: i64, parts: Vec<Range<u64>> },
    /// The task is an ia32 one: the kernel maps its other vDSO at this address, data first, and it has to have this code.
    Ia32 { at: u64, code: Vec<u64> },
    /// This code is put at the image's address; the running kernel's stays beside, its code at a place that is free.
    Patch { code: Vec<u8>, functions: Vec<(u64, u64)> },
}

impl Own {
    pub fn find(mappings: &[OwnMapping]) -> Option<Own> {
        let code = mappings.iter().find(|m| m.name == "[vdso]")?.range.clone();
        let parts =
            mappings.iter().filter(|m| m.name == "[vdso]" || m.name.starts_with("[vvar")).map(|m| m.range.clone());
        Some(Own { parts: parts.collect(), code })
    }

    /// What lies `displacement` before the areas of `layout`; `None`: not each of them has all of its length in the parts.
    fn parts_behind(&self, layout: &Layout, displacement: i64) -> Option<Vec<Range<u64>>> {
        let areas: Vec<Range<u64>> = layout.vvar.iter().chain(&layout.vdso).cloned().collect();
        let back = |at: u64| at.wrapping_add_signed(displacement.wrapping_neg());
        let common =
            |part: &Range<u64>, area: &Range<u64>| part.start.max(back(area.start))..part.end.min(back(area.end));
        let parts = self.parts.iter().flat_map(|part| areas.iter().map(|area| common(part, area)));
        let parts: Vec<Range<u64>> = parts.filter(|common| common.start < common.end).collect();
        let bytes = |ranges: &[Range<u64>]| ranges.iter().map(|r| r.end - r.start).sum::<u64>();
        (bytes(&parts) == bytes(&areas)).then_some(parts)
    }

    /// From the first part's start to the last one's end.
    pub fn span(&self) -> Range<u64> {
        let start = self.parts.iter().map(|p| p.start).min().unwrap_or(self.code.start);
        start..self.parts.iter().map(|p| p.end).max().unwrap_or(self.code.end)
    }
}

/// Compares the image's vDSO (`theirs`: its code, from the pages image) with the running kernel's (`ours`).
///
/// # Errors
/// In words: the contents were not saved, or a function of the image's is unknown here.
pub fn choose(layout: &Layout, own: &Own, theirs: &[u8], ours: &[u8]) -> Result<Choice, String> {
    let first = layout.vvar.iter().map(|r| r.start).min();
    let (theirs_at, ours_at) = match (&layout.vdso, first) {
        (Some(code), _) => (code.start, own.code.start),
        (None, Some(first)) => (first, own.span().start),
        (None, None) => return Ok(Choice::Nothing),
    };
    let displacement = theirs_at.wrapping_sub(ours_at) as i64;
    let parts = own.parts_behind(layout, displacement);
    if layout.vdso.is_none() {
        let parts = parts.ok_or("its vvar without a vDSO is not what this kernel maps")?;
        return Ok(Choice::Move { displacement, parts });
    }
    if theirs.is_empty() {
        return Err("the contents of its vDSO were not saved".into());
    }
    if is_compat_vdso(theirs) {
        let words = theirs.as_chunks::<8>().0;
        let words = words.iter().map(|word| u64::from_le_bytes(*word)).collect();
        return Ok(Choice::Ia32 { at: first.unwrap_or(theirs_at), code: words });
    }
    if let Some(parts) = parts.filter(|_| theirs == ours) {
        return Ok(Choice::Move { displacement, parts });
    }
    let (old, new) = (functions(theirs), functions(ours));
    let mut patches = Vec::new();
    for (name, at) in &old {
        let target = new.iter().find(|(n, _)| n == name);
        let (_, target) = target.ok_or_else(|| format!("this kernel's vDSO has no {name}"))?;
        patches.push((*at, *target));
    }
    if patches.is_empty() {
        return Err("its vDSO has no functions that could be found".into());
    }
    Ok(Choice::Patch { code: theirs.to_vec(), functions: patches })
}

/// The image's code with a jump at each function: `target` offsets count from `base`, where the running kernel's code will
/// be.
pub fn patched(theirs: &[u8], functions: &[(u64, u64)], base: u64) -> Vec<u8> {
    let mut bytes = theirs.to_vec();
    for &(at, target) in functions {
        // movabs rax, target; jmp rax
        let mut jump = [0x48, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xe0];
        jump[2..10].copy_from_slice(&base.wrapping_add(target).to_le_bytes());
        if let Some(place) = usize::try_from(at).ok().and_then(|at| bytes.get_mut(at..at + jump.len())) {
            place.copy_from_slice(&jump);
        }
    }
    bytes
}

fn number(bytes: &[u8], at: usize, len: usize) -> Option<u64> {
    let mut word = [0; 8];
    word[..len].copy_from_slice(bytes.get(at..at.checked_add(len)?)?);
    Some(u64::from_le_bytes(word))
}

/// The functions that an ELF image exports, by their long names: (name, offset).
fn functions(elf: &[u8]) -> Vec<(String, u64)> {
    const DYNSYM: u64 = 11;
    const FUNCTION: u64 = 2;
    let mut found = Vec::new();
    let read = |at: usize, len: usize| number(elf, at, len);
    let (Some(table), Some(count)) = (read(40, 8), read(60, 2)) else { return found };
    let section = |i: u64| usize::try_from(table.checked_add(i.checked_mul(64)?)?).ok();
    for i in 0..count {
        let Some(s) = section(i) else { break };
        if s.checked_add(64).is_none() || read(s + 4, 4) != Some(DYNSYM) {
            continue;
        }
        let (Some(at), Some(size), Some(link)) = (read(s + 24, 8), read(s + 32, 8), read(s + 40, 4)) else { continue };
        let Some(names) = section(link).and_then(|n| read(n.checked_add(24)?, 8)) else { continue };
        for symbol in (at..at.saturating_add(size.min(elf.len() as u64))).step_by(24) {
            let Ok(symbol) = usize::try_from(symbol) else { break };
            let (Some(name), Some(info), Some(value)) = (read(symbol, 4), read(symbol + 4, 1), read(symbol + 8, 8))
            else {
                break;
            };
            let text = names.checked_add(name).and_then(|at| usize::try_from(at).ok()).and_then(|at| elf.get(at..));
            let text = text.and_then(|t| t.split(|&b| b == 0).next()).map(String::from_utf8_lossy);
            if let Some(text) = text.filter(|t| info & 15 == FUNCTION && t.starts_with("__vdso_")) {
                found.push((text.into_owned(), value));
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mem::vma::placement::own_mappings;
    use crate::sys::mapping::Mapped;

    fn own() -> (Own, Vec<u8>) {
        let own = Own::find(&own_mappings().unwrap()).expect("this kernel maps a vDSO");
        let len = own.code.end - own.code.start;
        let bytes = Mapped::inherited(own.code.start, len).bytes(len as usize);
        (own, bytes)
    }

    fn layout(at: u64, own: &Own) -> Layout {
        let vvar = own.code.start - own.span().start;
        let code = own.code.end - own.code.start;
        Layout { vdso: Some(at..at + code), vvar: std::iter::once(at - vvar..at).collect(), ..Layout::default() }
    }

    #[test]
    fn the_same_build_moves() {
        let (own, bytes) = own();
        let l = layout(0x7f00_0000_0000, &own);
        let displacement = 0x7f00_0000_0000_u64.wrapping_sub(own.code.start) as i64;
        assert_eq!(choose(&l, &own, &bytes, &bytes), Ok(Choice::Move { displacement, parts: own.parts.clone() }));
    }

    #[test]
    fn what_was_unmapped_does_not_come_back() {
        let (own, bytes) = own();
        let at = own.code.start;
        let data = own.span().start..at;
        let code = Layout { vdso: Some(own.code.clone()), ..Layout::default() };
        let parts = vec![own.code.clone()];
        assert_eq!(choose(&code, &own, &bytes, &bytes), Ok(Choice::Move { displacement: 0, parts }));
        let page = data.start..data.start + 4096;
        let some = Layout { vvar: vec![page.clone()], ..code };
        let parts = vec![page, own.code.clone()];
        assert_eq!(choose(&some, &own, &bytes, &bytes), Ok(Choice::Move { displacement: 0, parts }));
        let without_code = Layout { vvar: vec![data], ..Layout::default() };
        let parts = own.parts.iter().filter(|p| **p != own.code).cloned().collect();
        assert_eq!(choose(&without_code, &own, &[], &bytes), Ok(Choice::Move { displacement: 0, parts }));
        assert_eq!(choose(&Layout::default(), &own, &[], &bytes), Ok(Choice::Nothing));
    }

    #[test]
    fn another_build_is_patched() {
        let (own, bytes) = own();
        let mut other = bytes.clone();
        *other.last_mut().unwrap() ^= 1;
        let Ok(Choice::Patch { functions, .. }) = choose(&layout(0x7f00_0000_0000, &own), &own, &other, &bytes) else {
            panic!("not patched");
        };
        assert!(functions.len() >= 4);
        let (at, target) = functions[0];
        let code = patched(&other, &functions, 0x1000);
        assert_eq!(code[at as usize..at as usize + 2], [0x48, 0xb8]);
        assert_eq!(code[at as usize + 2..at as usize + 10], (0x1000 + target).to_le_bytes());
    }

    #[test]
    fn garbage_has_no_functions() {
        assert_eq!(functions(&[0xff; 8192]), Vec::new());
        assert_eq!(functions(&[]), Vec::new());
    }
}
