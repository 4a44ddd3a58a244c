//! How far a reader of /dev/kmsg has got: it reads record by record, and no call tells at which it is. The kernel's memory does;
//! at the restore records are read up to that one.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{OFlags, SeekFrom, fcntl_getfl, fcntl_setfl, major, minor, seek};
use rustix::io::{Errno, read};

use crate::file::kind::Unsaved;
use crate::file::seen::Seen;
use crate::sys::kernel::Kernel;

const KMSG: (u32, u32) = (1, 11);
/// Longer than any record with its properties.
const RECORD_BYTES: usize = 8192;

pub(super) fn is_reader(mode: u32, device: u64, flags: u32) -> bool {
    let writes_only = flags & libc::O_ACCMODE as u32 == libc::O_WRONLY as u32 || flags & libc::O_PATH as u32 != 0;
    mode & libc::S_IFMT == libc::S_IFCHR && (major(device), minor(device)) == KMSG && !writes_only
}

/// The number of the record that is read next.
pub(super) fn place(seen: &Seen<'_>) -> Result<u64, Unsaved> {
    let look = || {
        let kernel = Kernel::open()?;
        let reader = kernel.number(kernel.file(seen.dup.as_fd())?, "file", "private_data")?;
        kernel.number(reader, "devkmsg_user", "seq")
    };
    look().map_err(|e: io::Error| {
        Unsaved::because(format!("how far it has read of the kernel's messages cannot be found out ({e})"))
            .hint("close it before the dump, or give the engine the right to look (CAP_BPF and CAP_PERFMON)")
    })
}

/// Reads up to that record; to the end where the kernel has not got that far, or is another one.
pub(super) fn advance(fd: &OwnedFd, to: u64) -> io::Result<()> {
    let flags = fcntl_getfl(fd)?;
    fcntl_setfl(fd, flags | OFlags::NONBLOCK)?;
    let advanced = skip(fd, to);
    fcntl_setfl(fd, flags)?;
    advanced
}

fn skip(fd: &OwnedFd, to: u64) -> io::Result<()> {
    let mut record = [0; RECORD_BYTES];
    loop {
        match read(fd, &mut record) {
            Ok(got) => {
                let number = number(record.get(..got).unwrap_or_default()).ok_or(Errno::IO)?;
                if number + 1 == to {
                    return Ok(());
                }
                if number >= to {
                    // Those before are gone, so this is the oldest there is.
                    seek(fd, SeekFrom::Start(0))?;
                    return Ok(());
                }
            }
            Err(Errno::AGAIN) => return Ok(()),
            // It was overwritten meanwhile.
            Err(Errno::PIPE | Errno::INTR) => {}
            Err(e) => return Err(e.into()),
        }
    }
}

/// `PRIORITY,NUMBER,TIME,FLAGS;TEXT`
fn number(record: &[u8]) -> Option<u64> {
    std::str::from_utf8(record.split(|&b| b == b';').next()?).ok()?.split(',').nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_records() {
        assert_eq!(number(b"6,339,5140900,-;NET: Registered protocol family 10\n"), Some(339));
        assert_eq!(number(b"nothing"), None);
    }
}
