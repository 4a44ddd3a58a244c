//! bpf(2): the call itself, maps, and the loading of programs.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use super::descriptor::adopt;

const MAP_CREATE: i32 = 0;
const MAP_LOOKUP_ELEM: i32 = 1;
const MAP_UPDATE_ELEM: i32 = 2;
const MAP_GET_NEXT_KEY: i32 = 4;
const PROG_LOAD: i32 = 5;
const MAP_GET_FD_BY_ID: i32 = 14;
const OBJ_GET_INFO_BY_FD: i32 = 15;
const MAP_FREEZE: i32 = 22;

/// BPF_OBJ_NAME_LEN, its final zero among it.
pub(crate) const NAME_BYTES: usize = 16;

/// Calls bpf(2) with a structure that is a beginning of `union bpf_attr`, all of whose addresses are live.
pub(super) fn call<T>(command: i32, attr: &mut T) -> io::Result<i32> {
    /// A program that a signal arrives at while it is verified is given up with EAGAIN.
    const TRIES: u32 = 5;
    let mut tries = 0;
    loop {
        tries += 1;
        // SAFETY: the kernel reads and writes `attr` for its size, and what its addresses lead to, which the callers own.
        let n = unsafe { libc::syscall(libc::SYS_bpf, command, std::ptr::from_mut(attr), size_of::<T>()) };
        if n >= 0 {
            return Ok(n as i32);
        }
        let e = io::Error::last_os_error();
        if tries == TRIES || !matches!(e.raw_os_error(), Some(libc::EAGAIN | libc::EINTR)) {
            return Err(e);
        }
    }
}

/// A program, and what it is for.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Program<'a> {
    /// BPF_PROG_TYPE_*
    pub kind: u32,
    pub code: &'a [u64],
    /// BPF_F_*
    pub flags: u32,
    /// What it is attached to, and the function there by its number among the kernel's types; 0 for nothing.
    pub attach_type: u32,
    pub attach_to: u32,
}

impl Program<'_> {
    /// # References
    /// bpf(2), BPF_PROG_LOAD
    pub(super) fn load(&self) -> io::Result<OwnedFd> {
        #[repr(C)]
        #[derive(Default)]
        struct Load {
            kind: u32,
            count: u32,
            instructions: u64,
            license: u64,
            log_level: u32,
            log_bytes: u32,
            log: u64,
            kernel_version: u32,
            flags: u32,
            name: [u8; NAME_BYTES],
            ifindex: u32,
            attach_type: u32,
            types: u32,
            functions_record: u32,
            functions: u64,
            functions_count: u32,
            lines_record: u32,
            lines: u64,
            lines_count: u32,
            attach_to: u32,
            attach_program: u32,
            pad: u32,
        }
        // The helpers are for programs that the GPL allows for.
        let license = c"Dual MIT/GPL";
        let mut attr = Load {
            kind: self.kind,
            count: self.code.len() as u32,
            instructions: self.code.as_ptr() as u64,
            license: license.as_ptr() as u64,
            flags: self.flags,
            attach_type: self.attach_type,
            attach_to: self.attach_to,
            ..Load::default()
        };
        call(PROG_LOAD, &mut attr).map(adopt)
    }
}

/// What a map is: a beginning of `struct bpf_map_info`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct MapInfo {
    /// BPF_MAP_TYPE_*
    pub kind: u32,
    pub id: u32,
    pub key_bytes: u32,
    pub value_bytes: u32,
    pub max_entries: u32,
    /// BPF_F_*
    pub flags: u32,
    pub name: [u8; NAME_BYTES],
    pub ifindex: u32,
    pub kernel_value_type: u32,
    pub netns: [u64; 2],
    /// Descriptions of its types (BTF).
    pub types: u32,
    pub key_type: u32,
    pub value_type: u32,
    pub kernel_types: u32,
    pub extra: u64,
}

/// # References
/// bpf(2), BPF_OBJ_GET_INFO_BY_FD (Linux 4.13)
pub(crate) fn map_info(map: BorrowedFd<'_>) -> io::Result<MapInfo> {
    let mut info = MapInfo::default();
    #[repr(C)]
    struct Ask {
        fd: u32,
        len: u32,
        info: u64,
    }
    let len = size_of::<MapInfo>() as u32;
    call(OBJ_GET_INFO_BY_FD, &mut Ask { fd: map.as_raw_fd() as u32, len, info: &raw mut info as u64 })?;
    Ok(info)
}

/// One more description of a map; `access`: BPF_F_RDONLY, BPF_F_WRONLY or 0.
///
/// # Errors
/// EPERM without CAP_SYS_ADMIN.
pub(crate) fn map_by_id(id: u32, access: u32) -> io::Result<OwnedFd> {
    call(MAP_GET_FD_BY_ID, &mut [id, 0, access]).map(adopt)
}

/// # References
/// bpf(2), BPF_MAP_CREATE
pub(crate) fn create_map(map: &MapInfo) -> io::Result<OwnedFd> {
    #[repr(C)]
    #[derive(Default)]
    struct Create {
        kind: u32,
        key_bytes: u32,
        value_bytes: u32,
        max_entries: u32,
        flags: u32,
        inner_map: u32,
        numa_node: u32,
        name: [u8; NAME_BYTES],
        ifindex: u32,
        types: [u32; 4],
        extra: u64,
    }
    let mut create = Create {
        kind: map.kind,
        key_bytes: map.key_bytes,
        value_bytes: map.value_bytes,
        max_entries: map.max_entries,
        flags: map.flags,
        name: map.name,
        ifindex: map.ifindex,
        extra: map.extra,
        ..Create::default()
    };
    call(MAP_CREATE, &mut create).map(adopt)
}

#[repr(C)]
struct Element {
    map: u64,
    key: u64,
    value: u64,
    flags: u64,
}

/// The key behind `key`, or the first one; `None` at the end.
pub(crate) fn next_key(map: BorrowedFd<'_>, key: Option<&[u8]>, key_bytes: usize) -> io::Result<Option<Vec<u8>>> {
    let mut next = vec![0; key_bytes];
    let key = key.map_or(0, |k| k.as_ptr() as u64);
    let mut element = Element { map: map.as_raw_fd() as u64, key, value: next.as_mut_ptr() as u64, flags: 0 };
    match call(MAP_GET_NEXT_KEY, &mut element) {
        Ok(_) => Ok(Some(next)),
        Err(e) if e.raw_os_error() == Some(libc::ENOENT) => Ok(None),
        Err(e) => Err(e),
    }
}

pub(crate) fn lookup(map: BorrowedFd<'_>, key: &[u8], value_bytes: usize) -> io::Result<Vec<u8>> {
    let mut value = vec![0; value_bytes];
    let (key, at) = (key.as_ptr() as u64, value.as_mut_ptr() as u64);
    call(MAP_LOOKUP_ELEM, &mut Element { map: map.as_raw_fd() as u64, key, value: at, flags: 0 })?;
    Ok(value)
}

pub(crate) fn update(map: BorrowedFd<'_>, key: &[u8], value: &[u8]) -> io::Result<()> {
    let (key, value) = (key.as_ptr() as u64, value.as_ptr() as u64);
    call(MAP_UPDATE_ELEM, &mut Element { map: map.as_raw_fd() as u64, key, value, flags: 0 }).map(drop)
}

/// Nobody can change it through bpf(2) any more. Linux 5.2.
pub(crate) fn freeze(map: BorrowedFd<'_>) -> io::Result<()> {
    call(MAP_FREEZE, &mut [map.as_raw_fd() as u32]).map(drop)
}
