//! Reads what a restore needs to know of open files, and checks it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::os::fd::RawFd;
use std::sync::LazyLock;

use criu_images::messages::{CriuOpts, FdTypes, FdinfoEntry, FileEntry};
use criu_images::{ImageDir, Kind};
use rustix::fs::{AtFlags, statat};

use super::{Plan, loading};
use crate::error::{Error, Phase, Result};
use crate::file::kind::{FileKind, KINDS};
use crate::file::{Entries, older};
use crate::sys::descriptor::borrow;
use crate::sys::heap;

/// No kernel has more descriptors in a table (`sysctl fs.nr_open` is below it).
const MAX_FD: u32 = 1 << 30;

pub(super) fn entries(images: &ImageDir) -> Result<Entries> {
    let mut entries = BTreeMap::new();
    let mut add = |entry: FileEntry| match entries.insert(entry.id, entry) {
        None => Ok(()),
        Some(twice) => Err(Error::new(Phase::Load, "files.img", format!("two files have the id {}", twice.id))),
    };
    expect_entries(images);
    match images.open(Kind::Files, 0).map_err(loading)? {
        Some(mut image) => {
            while let Some(entry) = image.entry().map_err(loading)? {
                add(entry)?;
            }
        }
        None => older::files(images).map_err(loading)?.into_iter().try_for_each(add)?,
    }
    older::add_watched(images, &mut entries).map_err(loading)?;
    Ok(entries)
}

/// Large images take much memory: an entry that takes so few bytes in the image has room for all that can be there.
fn expect_entries(images: &ImageDir) {
    const WORTH_IT: u64 = 16 << 10;
    const TIMES: u64 = 16;
    let bytes = statat(images.fd(), Kind::Files.file_name(0), AtFlags::empty()).map_or(0, |stat| stat.st_size as u64);
    if bytes >= WORTH_IT {
        heap::expect(bytes.saturating_mul(TIMES) as usize);
    }
}

pub(super) fn check_table(plan: &Plan, files_id: u32, fds: &[FdinfoEntry]) -> Result<()> {
    let wrong = |fd: &FdinfoEntry, why: String| {
        Err(Error::new(Phase::Load, format!("fdinfo-{files_id}.img"), format!("fd {}: {why}", fd.fd)))
    };
    let mut numbers = BTreeSet::new();
    for fd in fds {
        if fd.fd > MAX_FD || !numbers.insert(fd.fd) {
            return wrong(fd, "no such number, or there twice".into());
        }
        match plan.entries.get(&fd.id) {
            None => return wrong(fd, format!("file {} is not in files.img", fd.id)),
            Some(entry) if entry.r#type != fd.r#type => {
                return wrong(fd, format!("file {} is of another type there", fd.id));
            }
            Some(_) => {}
        }
    }
    Ok(())
}

pub(super) fn inherit(opts: &CriuOpts) -> Result<HashMap<String, RawFd>> {
    let mut map = HashMap::default();
    for i in &opts.inherit_fd {
        let object = format!("inherited fd {} ({})", i.fd, i.key);
        if i.fd < 0 || rustix::io::fcntl_getfd(borrow(i.fd)).is_err() {
            return Err(Error::new(Phase::Options, object, "the descriptor is not open").errno(libc::EBADRQC));
        }
        if map.insert(i.key.clone(), i.fd).is_some() {
            return Err(Error::new(Phase::Options, object, "the key is given twice").errno(libc::EBADRQC));
        }
    }
    Ok(map)
}

/// More than the largest number of a type, where those that CRIU does not have follow its own.
const TYPES: usize = 64;
const CRIUS_TYPES: usize = 48;
const FIRST_OWN: i32 = 10_000;

/// Where the kind of a type is noted down.
fn place_of(r#type: i32) -> Option<usize> {
    match usize::try_from(r#type).ok()? {
        crius @ 0..CRIUS_TYPES => Some(crius),
        _ => Some(CRIUS_TYPES + usize::try_from(r#type.checked_sub(FIRST_OWN)?).ok()?),
    }
}

/// The kind that restores an entry, as an index of `KINDS`.
pub(super) fn kind_of(entry: &FileEntry) -> Result<usize> {
    // Asked several times for each file.
    static KIND_OF_TYPE: LazyLock<[Option<u8>; TYPES]> = LazyLock::new(|| {
        let types = |(at, kind): (usize, &'static FileKind)| kind.types.iter().map(move |t| (*t as i32, at));
        let mut kinds = [None; TYPES];
        for (r#type, at) in KINDS.iter().enumerate().flat_map(types) {
            if let Some(kind) = place_of(r#type).and_then(|place| kinds.get_mut(place)) {
                *kind = Some(at as u8);
            }
        }
        kinds
    });
    let known = place_of(entry.r#type).and_then(|place| *KIND_OF_TYPE.get(place)?);
    known.map(usize::from).ok_or_else(|| {
        let name = FdTypes::try_from(entry.r#type).map_or("?", |t| t.as_str_name());
        Error::new(Phase::Check, format!("file {} ({name})", entry.id), "files of this kind cannot be restored")
    })
}
