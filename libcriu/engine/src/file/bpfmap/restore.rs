//! BPF maps: made and filled in the coordinator; each description is opened by the map's new number.

use std::collections::{HashMap, HashSet};
use std::os::fd::{AsFd, OwnedFd};

use criu_images::messages::{BpfmapDataEntry, BpfmapFileEntry, FdTypes, FileEntry};
use criu_images::{ImageDir, Kind};

use super::{ARRAY, FLAGS, HASH, MAX_BYTES, RDONLY, WRONLY};
use crate::error::{Error, Phase, Result};
use crate::file::kind::{RestoreKind, body};
use crate::file::load::{Plan, loading};
use crate::file::object::Object;
use crate::sys::bpf::{MapInfo, NAME_BYTES, create_map, freeze, map_by_id, map_info, update};

#[derive(Debug, Default)]
pub(crate) struct Maps {
    /// Keys and values, by the map's number in the images.
    contents: HashMap<u32, (Vec<u8>, Vec<u8>)>,
    made: HashMap<u32, (OwnedFd, u32)>,
}

impl RestoreKind for Maps {
    fn load(&mut self, plan: &Plan, images: &ImageDir) -> Result<()> {
        let mut sizes = HashMap::new();
        for entry in plan.entries.values().filter(|e| e.r#type() == FdTypes::Bpfmap) {
            let map = body(entry, entry.bpf.as_ref())?;
            check(map).map_err(|why| Error::new(Phase::Check, named(map), why))?;
            sizes.insert(map.map_id, (map.key_size, map.value_size));
        }
        let Some(mut image) = images.open(Kind::BpfmapData, 0).map_err(loading)? else { return Ok(()) };
        while let Some(data) = image.entry::<BpfmapDataEntry>().map_err(loading)? {
            let (keys, values) = image.bpf_map(&data).map_err(loading)?;
            let count = data.count as usize;
            let fits = |&(key, value): &(u32, u32)| {
                let exact = count.checked_mul(value as usize) == Some(values.len());
                count.checked_mul(key as usize) == Some(keys.len()) && exact
            };
            if !sizes.get(&data.map_id).is_some_and(fits) {
                return Err(loading(image.corrupt(format!("contents that are none of BPF map {}", data.map_id))));
            }
            self.contents.insert(data.map_id, (keys, values));
        }
        Ok(())
    }

    fn prepare(&mut self, plan: &mut Plan) -> Result<()> {
        let mut done = HashSet::new();
        for map in plan.entries.values().filter_map(|e| e.bpf.as_ref()).filter(|m| done.insert(m.map_id)) {
            let made = self.make(map)?;
            self.made.insert(map.map_id, made);
        }
        Ok(())
    }

    fn open(&mut self, _plan: &mut Plan, _object: Object, members: &[&FileEntry]) -> Result<Vec<OwnedFd>> {
        let open = |entry: &FileEntry| {
            let map = body(entry, entry.bpf.as_ref())?;
            let made = self.made.get(&map.map_id);
            let &(_, id) = made.ok_or_else(|| Error::new(Phase::Files, named(map), "was not made"))?;
            let access = match map.flags as i32 & libc::O_ACCMODE {
                libc::O_RDONLY => RDONLY,
                libc::O_WRONLY => WRONLY,
                _ => 0,
            };
            map_by_id(id, access).map_err(|e| {
                let e = Error::os(Phase::Files, named(map), "bpf BPF_MAP_GET_FD_BY_ID", e);
                e.hint("it takes CAP_SYS_ADMIN")
            })
        };
        members.iter().map(|m| open(m)).collect()
    }

    fn close(&mut self) {
        self.made.clear();
    }
}

impl Maps {
    /// The map, whole, and its number.
    fn make(&self, map: &BpfmapFileEntry) -> Result<(OwnedFd, u32)> {
        let failed = |call: &str, e| Error::os(Phase::Files, named(map), call, e).hint("it takes CAP_BPF");
        let mut name = [0; NAME_BYTES];
        for (to, from) in name.iter_mut().zip(map.map_name.bytes().take(NAME_BYTES - 1)) {
            *to = from;
        }
        let info = MapInfo {
            kind: map.map_type,
            key_bytes: map.key_size,
            value_bytes: map.value_size,
            max_entries: map.max_entries,
            // Those of the descriptor that made it.
            flags: map.map_flags & !(RDONLY | WRONLY),
            name,
            extra: map.map_extra(),
            ..MapInfo::default()
        };
        let fd = create_map(&info).map_err(|e| failed("bpf BPF_MAP_CREATE", e))?;
        if let Some((keys, values)) = self.contents.get(&map.map_id) {
            let keys = keys.chunks_exact(map.key_size as usize);
            for (key, value) in keys.zip(values.chunks_exact(map.value_size as usize)) {
                update(fd.as_fd(), key, value).map_err(|e| failed("bpf BPF_MAP_UPDATE_ELEM", e))?;
            }
        }
        if map.frozen {
            freeze(fd.as_fd()).map_err(|e| failed("bpf BPF_MAP_FREEZE", e))?;
        }
        let id = map_info(fd.as_fd()).map_err(|e| failed("bpf BPF_OBJ_GET_INFO_BY_FD", e))?.id;
        Ok((fd, id))
    }
}

fn named(map: &BpfmapFileEntry) -> String {
    format!("file {} (BPF map {} {:?})", map.id, map.map_id, map.map_name)
}

fn check(map: &BpfmapFileEntry) -> std::result::Result<(), String> {
    let bytes = u64::from(map.max_entries) * u64::from(map.value_size.max(map.key_size));
    if !matches!(map.map_type, HASH | ARRAY) || map.map_flags & !FLAGS != 0 || map.ifindex != 0 {
        return Err(format!("maps of type {} with the flags {:#x} cannot be restored", map.map_type, map.map_flags));
    }
    if map.key_size == 0 || map.value_size == 0 || bytes > MAX_BYTES {
        return Err("there is no map of such a size".into());
    }
    Ok(())
}
