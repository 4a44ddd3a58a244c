//! Lines of fdinfo about watches and marks.

use std::collections::HashMap;

/// An inode as the kernel names it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Watched {
    pub ino: u64,
    /// 12 bits major above 20 bits minor.
    pub dev: u32,
    /// Type and bytes of its file handle, where the filesystem has such.
    pub handle: Option<(i32, Vec<u8>)>,
}

/// `name:value` words, the values in hexadecimal.
pub(super) struct Words<'a>(HashMap<&'a str, &'a str>);

impl<'a> Words<'a> {
    /// The words of a line that begins with `head`.
    pub fn of(line: &'a str, head: &str) -> Option<Self> {
        let rest = line.strip_prefix(head)?.strip_prefix(' ')?;
        Some(Words(rest.split_whitespace().filter_map(|w| w.split_once(':')).collect()))
    }

    pub fn number(&self, name: &str) -> Option<u64> {
        u64::from_str_radix(self.0.get(name)?, 16).ok()
    }

    pub fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    pub fn watched(&self) -> Option<Watched> {
        Some(Watched { ino: self.number("ino")?, dev: self.number("sdev")? as u32, handle: self.handle() })
    }

    fn handle(&self) -> Option<(i32, Vec<u8>)> {
        let kind = self.number("fhandle-type")? as i32;
        let text = self.0.get("f_handle")?;
        let byte = |at: usize| u8::from_str_radix(text.get(at..at + 2)?, 16).ok();
        let bytes: Option<Vec<u8>> = (0..text.len() / 2).map(|i| byte(i * 2)).collect();
        bytes.filter(|b| b.len() as u64 == self.number("fhandle-bytes").unwrap_or(0)).map(|b| (kind, b))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_watch() {
        let line = "inotify wd:1 ino:3c4a3 sdev:fe00000 mask:300 ignored_mask:0 fhandle-bytes:8 fhandle-type:1 \
                    f_handle:a3c4030000000001";
        let words = Words::of(line, "inotify").unwrap();
        assert_eq!((words.number("wd"), words.number("mask")), (Some(1), Some(0x300)));
        let handle = Some((1, vec![0xa3, 0xc4, 3, 0, 0, 0, 0, 1]));
        assert_eq!(words.watched(), Some(Watched { ino: 0x3c4a3, dev: 0xfe00000, handle }));
        assert!(Words::of("fanotify flags:2", "inotify").is_none());
        assert_eq!(Words::of("inotify fhandle-bytes:8 fhandle-type:1 f_handle:zz", "inotify").unwrap().handle(), None);
    }
}
