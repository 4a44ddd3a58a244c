//! /proc/PID/limits: readable where prlimit(2) would want CAP_SYS_RESOURCE (a task of another user)

use std::io;

use super::{ProcDir, malformed};

/// Soft and hard limit of each resource, in the order of the kernel's numbers.
///
/// # Errors
/// Those of reading the file.
pub fn limits(dir: &ProcDir) -> io::Result<Vec<(u64, u64)>> {
    parse(&dir.text("limits")?).ok_or_else(|| malformed("limits"))
}

/// The names have a column of this width and hold spaces themselves.
const NAME_WIDTH: usize = 25;

pub(super) fn parse(text: &str) -> Option<Vec<(u64, u64)>> {
    let value = |v: &str| if v == "unlimited" { Some(libc::RLIM_INFINITY) } else { v.parse().ok() };
    text.lines()
        .skip(1)
        .map(|line| {
            let mut fields = line.get(NAME_WIDTH..)?.split_ascii_whitespace();
            Some((value(fields.next()?)?, value(fields.next()?)?))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{ProcDir, limits};

    #[test]
    fn as_the_kernel_itself_says() {
        let all = limits(&ProcDir::open(std::process::id() as i32).unwrap()).unwrap();
        assert_eq!(all.len(), 16);
        let core = rustix::process::getrlimit(rustix::process::Resource::Core);
        let (soft, hard) = all[libc::RLIMIT_CORE as usize];
        assert_eq!((core.current.unwrap_or(u64::MAX), core.maximum.unwrap_or(u64::MAX)), (soft, hard));
        let stack = rustix::process::getrlimit(rustix::process::Resource::Stack);
        assert_eq!(stack.current.unwrap_or(u64::MAX), all[libc::RLIMIT_STACK as usize].0);
    }
}
