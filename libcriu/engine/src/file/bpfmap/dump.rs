//! BPF maps: entries from what the kernel tells, contents key by key.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, OwnedFd};

use criu_images::messages::{BpfmapDataEntry, BpfmapFileEntry, FdTypes, FileEntry};
use criu_images::{ImageDir, Kind};

use super::{ARRAY, FLAGS, HASH, MAX_BYTES};
use crate::error::{Blocker, Error, Phase, Result};
use crate::file::FileId;
use crate::file::collect::{Collected, saving};
use crate::file::kind::{DumpKind, Unsaved};
use crate::file::seen::Seen;
use crate::mem::pages::PagesIds;
use crate::sys::bpf::{MapInfo, lookup, map_by_id, map_info, next_key};
use crate::sys::kernel::Kernel;

#[derive(Debug)]
struct Map {
    pid: i32,
    object: String,
    info: MapInfo,
    dup: OwnedFd,
    /// How many descriptions the tree has of it.
    descriptions: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Maps {
    /// By the number that the kernel gave them.
    maps: BTreeMap<u32, Map>,
}

impl DumpKind for Maps {
    fn claims(&self, seen: &Seen<'_>) -> bool {
        seen.is_anon("bpf-map")
    }

    fn collect(&mut self, seen: &Seen<'_>, id: FileId, _common: &mut Collected) -> Result<FileEntry, Unsaved> {
        let info = map_info(seen.dup.as_fd()).map_err(|e| Unsaved::os(seen, "bpf BPF_OBJ_GET_INFO_BY_FD", e))?;
        if let Some(why) = refusal(&info) {
            return Err(Unsaved::because(format!("a BPF map {why} cannot be saved")).hint("close it before the dump"));
        }
        let dup = rustix::io::fcntl_dupfd_cloexec(&seen.dup, 0).map_err(|e| Unsaved::os(seen, "dup", e))?;
        let new =
            Map { pid: seen.holder_pid, object: format!("{} (BPF map)", seen.holder), info, dup, descriptions: 0 };
        self.maps.entry(info.id).or_insert(new).descriptions += 1;
        let told = |key: &str| {
            let line = seen.info.text.lines().find_map(|l| l.strip_prefix(key)?.strip_prefix(':'));
            line.and_then(|v| v.trim().parse::<u64>().ok()).unwrap_or(0)
        };
        let name = info.name.split(|b| *b == 0).next().unwrap_or_default();
        let bpf = BpfmapFileEntry {
            id,
            flags: seen.info.flags,
            pos: seen.info.pos,
            fown: seen.fown,
            map_type: info.kind,
            key_size: info.key_bytes,
            value_size: info.value_bytes,
            map_id: info.id,
            max_entries: info.max_entries,
            map_flags: info.flags,
            memlock: told("memlock"),
            frozen: told("frozen") != 0,
            map_name: String::from_utf8_lossy(name).into_owned(),
            ifindex: info.ifindex,
            map_extra: Some(info.extra),
            ..BpfmapFileEntry::default()
        };
        Ok(FileEntry { r#type: FdTypes::Bpfmap as i32, id, bpf: Some(bpf.into()), ..FileEntry::default() })
    }

    fn resolve(&mut self, _common: &mut Collected, blockers: &mut Vec<Blocker>) -> Result<()> {
        if self.maps.is_empty() {
            return Ok(());
        }
        let kernel = Kernel::open();
        for map in self.maps.values() {
            let (cause, hint) = match kernel.as_ref().map_err(ToString::to_string).and_then(|k| users(k, map)) {
                Ok(users) if users == map.descriptions => continue,
                Ok(_) => (
                    "a program, a file of the BPF file system or a process outside the tree uses it, too".to_owned(),
                    "close it before the dump",
                ),
                Err(e) => (
                    format!("whether somebody else uses it cannot be seen ({e})"),
                    "give the engine CAP_BPF and CAP_PERFMON, or close it before the dump",
                ),
            };
            blockers.push(Blocker::new(map.pid, &*map.object, cause).hint(hint));
        }
        Ok(())
    }

    fn save(&mut self, _common: &Collected, images: &ImageDir, _ids: &mut PagesIds) -> Result<()> {
        if self.maps.is_empty() {
            return Ok(());
        }
        let mut image = images.create(Kind::BpfmapData, 0).map_err(saving)?;
        for map in self.maps.values() {
            let failed = |e| Error::os(Phase::Save, &*map.object, "bpf", e).pid(map.pid);
            let (keys, values) = contents(map).map_err(failed)?;
            let entry = BpfmapDataEntry {
                map_id: map.info.id,
                keys_bytes: keys.len() as u32,
                values_bytes: values.len() as u32,
                count: keys.len().checked_div(map.info.key_bytes as usize).unwrap_or(0) as u32,
            };
            image.bpf_map(&entry, &keys, &values).map_err(saving)?;
        }
        image.finish().map_err(saving)
    }
}

/// What of a map cannot be made again.
fn refusal(info: &MapInfo) -> Option<String> {
    let bytes = u64::from(info.max_entries) * u64::from(info.value_bytes.max(info.key_bytes));
    match info {
        i if !matches!(i.kind, HASH | ARRAY) => Some(format!("of type {}", i.kind)),
        i if i.types != 0 || i.kernel_value_type != 0 => Some("with descriptions of its types (BTF)".into()),
        i if i.flags & !FLAGS != 0 => Some(format!("with the flags {:#x}", i.flags)),
        i if i.ifindex != 0 => Some("that is offloaded to a device".into()),
        _ if bytes > MAX_BYTES => Some(format!("of {bytes} bytes")),
        _ => None,
    }
}

/// How many have it: descriptions, files, programs.
fn users(kernel: &Kernel, map: &Map) -> Result<u64, String> {
    let of = |e: std::io::Error| e.to_string();
    let at = kernel.file(map.dup.as_fd()).and_then(|file| kernel.number(file, "file", "private_data")).map_err(of)?;
    kernel.number(at, "bpf_map", "refcnt.counter").map_err(of)
}

/// Keys and values. Its own descriptor may be for reading or writing only.
fn contents(map: &Map) -> std::io::Result<(Vec<u8>, Vec<u8>)> {
    let whole = map_by_id(map.info.id, 0)?;
    let (fd, key_bytes, value_bytes) = (whole.as_fd(), map.info.key_bytes as usize, map.info.value_bytes as usize);
    let (mut keys, mut values) = (Vec::new(), Vec::new());
    let mut key = next_key(fd, None, key_bytes)?;
    for _ in 0..map.info.max_entries {
        let Some(now) = key else { break };
        values.extend(lookup(fd, &now, value_bytes)?);
        keys.extend(&now);
        key = next_key(fd, Some(&now), key_bytes)?;
    }
    Ok((keys, values))
}
