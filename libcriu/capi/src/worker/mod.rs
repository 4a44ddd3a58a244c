//! The library as its own worker: which file to execute for it, and what that does.

mod object;

use std::ffi::{c_char, c_int};
use std::fs;
use std::io::{self, ErrorKind};
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;

use criu_client::{Image, Program};
use rustix::fs::{CWD, Mode, OFlags};

pub(crate) use object::Object;

use crate::ffi;

/// What the default transport executes: this library's file; within a statically linked program, the `criu` command, and
/// without one a copy of the program.
pub(crate) fn program() -> Program {
    match Object::own() {
        Some(object) if object.is_executable_library() => Program::Found(find),
        _ if criu_client::command_exists("criu") => Program::Command,
        _ => Program::Forked(serve),
    }
}

fn find() -> io::Result<Image> {
    let object = Object::own().ok_or_else(|| io::Error::from(ErrorKind::NotFound))?;
    Ok(Image { file: open_mapped(&object)?, loader: object.loader })
}

/// Opens the file this library was mapped from, whatever its name refers to by now; a caller who may not (it takes
/// CAP_CHECKPOINT_RESTORE) gets the file of that name.
fn open_mapped(object: &Object) -> io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let open = |path: &str| rustix::fs::openat(CWD, path, flags, Mode::empty());
    let (start, end) = object.first_segment;
    if let Ok(file) = open(&format!("/proc/self/map_files/{start:x}-{end:x}")) {
        return Ok(file);
    }
    // The caller may have mapped files with names of any bytes.
    let maps = fs::read("/proc/self/maps")?;
    let maps = String::from_utf8_lossy(&maps);
    let area = maps.lines().filter_map(Area::parse).find(|a| (a.start..a.end).contains(&start));
    let area =
        area.ok_or_else(|| io::Error::new(ErrorKind::NotFound, "no mapping of the library in /proc/self/maps"))?;
    if let Ok(file) = open(&format!("/proc/self/map_files/{:x}-{:x}", area.start, area.end)) {
        return Ok(file);
    }
    let name = match area.path.strip_suffix(" (deleted)") {
        Some(name) if fs::metadata(area.path).map_or(true, |m| m.ino() != area.inode) => name,
        _ => area.path,
    };
    open(name).map_err(|e| {
        let e = io::Error::from(e);
        io::Error::new(e.kind(), format!("{name}: {e} (the library file was moved or deleted)"))
    })
}

/// One line of /proc/self/maps.
struct Area<'a> {
    start: usize,
    end: usize,
    inode: u64,
    path: &'a str,
}

impl<'a> Area<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let mut fields = line.splitn(6, ' ');
        let (start, end) = fields.next()?.split_once('-')?;
        let inode = fields.nth(3)?.parse().ok()?;
        let path = fields.next()?.trim_start();
        let hex = |s| usize::from_str_radix(s, 16).ok();
        Some(Area { start: hex(start)?, end: hex(end)?, inode, path })
    }
}

/// Serves one client.
fn serve(connection: OwnedFd) -> c_int {
    match criu_engine::rpc::serve(connection) {
        Ok(()) => 0,
        Err(_) => 1,
    }
}

/// The program's main function: `libcriu.so.2 swrk FD`.
#[unsafe(no_mangle)]
extern "C" fn criu_worker_main(_argc: c_int, _argv: *mut *mut c_char) -> c_int {
    ffi::guard(
        || 1,
        || {
            let args: Vec<_> = std::env::args().skip(1).collect();
            let fd = match args.as_slice() {
                [command, fd] if command == "swrk" => fd.parse().ok().and_then(ffi::inherited),
                _ => None,
            };
            let Some(connection) = fd else {
                println!("libcriu {}: checkpoint and restore of processes, its own worker (swrk FD)", crate::VERSION);
                return if args.is_empty() { 0 } else { 1 };
            };
            // The file's number would be the process's name otherwise.
            let _ = rustix::thread::set_name(c"criu");
            ffi::fill_standard();
            ffi::ignore_sigpipe();
            ffi::close_others(&connection);
            serve(connection)
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_maps() {
        let a =
            Area::parse("7f00-7f10 r--p 00000000 fe:01 4711                       /usr/lib/a b.so (deleted)").unwrap();
        assert_eq!((a.start, a.end, a.inode, a.path), (0x7f00, 0x7f10, 4711, "/usr/lib/a b.so (deleted)"));
        assert!(Area::parse("7f00-7f10 rw-p 00000000 00:00 0 ").is_some_and(|a| a.path.is_empty()));
        assert!(Area::parse("garbage").is_none());
    }
}
