//! `/proc/PID/fdinfo/FD`: what the kernel tells about an open file description.

use std::os::fd::BorrowedFd;

use rustix::fs::{Mode, OFlags, openat};

/// What is said of one descriptor; the lines that only some kinds have are kept as text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct FdInfo {
    /// File offset in bytes.
    pub pos: u64,
    /// Status flags of the description, without O_CLOEXEC.
    pub flags: u32,
    /// FD_CLOEXEC of this very descriptor.
    pub cloexec: bool,
    pub mnt_id: i32,
    pub ino: u64,
    /// Everything after these.
    pub text: String,
}

const PAGE_BYTES: usize = 4096;
/// An epoll or inotify descriptor may have tens of thousands of lines; no kind has more than this.
const MAX_BYTES: usize = 64 << 20;
const O_CLOEXEC: u32 = libc::O_CLOEXEC as u32;

impl FdInfo {
    /// Reads `fd`'s file in the directory `fdinfo`; `buf` is reused from call to call.
    pub(crate) fn read(fdinfo: BorrowedFd<'_>, fd: i32, buf: &mut Vec<u8>) -> std::io::Result<Self> {
        let file = openat(fdinfo, fd.to_string(), OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
        // Most are shorter than a page, which the kernel gives whole in one read; a short read is then the end.
        buf.resize(buf.len().max(PAGE_BYTES), 0);
        let mut len = 0;
        loop {
            let got = rustix::io::read(&file, &mut buf[len..])?;
            len += got;
            if got == 0 || len < PAGE_BYTES / 2 {
                break;
            }
            if buf.len() - len < PAGE_BYTES {
                if buf.len() >= MAX_BYTES {
                    return Err(std::io::Error::new(std::io::ErrorKind::InvalidData, "fdinfo does not end"));
                }
                buf.resize(buf.len() * 2, 0);
            }
        }
        Self::parse(&String::from_utf8_lossy(&buf[..len]))
            .ok_or_else(|| std::io::Error::new(std::io::ErrorKind::InvalidData, "not the text of an fdinfo file"))
    }

    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut info = FdInfo { mnt_id: -1, ..FdInfo::default() };
        let mut rest = text;
        let mut seen_flags = false;
        while let Some((line, after)) = rest.split_once('\n') {
            let Some((name, value)) = line.split_once(':') else { break };
            let value = value.trim();
            match name {
                "pos" => info.pos = value.parse().ok()?,
                "flags" => {
                    let flags = u32::from_str_radix(value, 8).ok()?;
                    info.flags = flags & !O_CLOEXEC;
                    info.cloexec = flags & O_CLOEXEC != 0;
                    seen_flags = true;
                }
                "mnt_id" => info.mnt_id = value.parse().ok()?,
                "ino" => info.ino = value.parse().ok()?,
                _ => break,
            }
            rest = after;
        }
        info.text = rest.to_owned();
        seen_flags.then_some(info)
    }

    /// The value of the kind's own line `name:`.
    pub(crate) fn value(&self, name: &str) -> Option<&str> {
        self.text.lines().find_map(|l| l.strip_prefix(name)?.strip_prefix(':')).map(str::trim)
    }

    /// The locks held through this descriptor, in the kernel's words.
    pub(crate) fn locks(&self) -> impl Iterator<Item = &str> {
        self.text.lines().filter_map(|l| l.strip_prefix("lock:")).map(str::trim)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_descriptor_with_a_lock() {
        let text =
            "pos:\t12\nflags:\t02100002\nmnt_id:\t29\nino:\t77\nlock:\t1: FLOCK  ADVISORY  WRITE 12 00:19:77 0 EOF\n";
        let info = FdInfo::parse(text).unwrap();
        assert_eq!((info.pos, info.flags, info.cloexec, info.mnt_id, info.ino), (12, 0o100002, true, 29, 77));
        assert_eq!(info.locks().collect::<Vec<_>>(), ["1: FLOCK  ADVISORY  WRITE 12 00:19:77 0 EOF"]);
        assert_eq!(info.value("eventfd-count"), None);
    }

    #[test]
    fn lying_text_is_refused() {
        assert_eq!(FdInfo::parse("pos:\tx\n"), None);
        assert_eq!(FdInfo::parse(""), None);
    }
}
