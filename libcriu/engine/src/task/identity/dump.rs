//! Read from /proc.

use std::io;

use crate::proc::ProcDir;

/// Settings of a process that /proc shows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    pub personality: u32,
    /// Absent in a kernel without audit.
    pub loginuid: Option<u32>,
    pub oom_score_adj: i32,
    pub coredump_filter: Option<u32>,
}

/// The nice value of the autogroup that a session's leader is in; 0 where there is none.
///
/// # References
/// sched(7), "The autogroup feature"
pub fn autogroup_nice(dir: &ProcDir) -> i32 {
    let nice = |text: String| text.rsplit(' ').next()?.parse().ok();
    dir.text("autogroup").ok().and_then(nice).unwrap_or(0)
}

fn number(text: String, radix: u32) -> io::Result<i64> {
    i64::from_str_radix(text.trim(), radix).map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e))
}

/// The personality of a process's main thread, or of another one.
///
/// # Errors
/// Those of reading the file.
pub fn personality(dir: &ProcDir) -> io::Result<u32> {
    Ok(number(dir.text("personality")?, 16)? as u32)
}

/// # Errors
/// Those of reading the files.
pub fn read(dir: &ProcDir) -> io::Result<Identity> {
    let optional = |name: &str| match dir.text(name) {
        Ok(text) => Ok(Some(text)),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e),
    };
    Ok(Identity {
        personality: personality(dir)?,
        loginuid: optional("loginuid")?.map(|t| number(t, 10)).transpose()?.map(|n| n as u32),
        oom_score_adj: number(dir.text("oom_score_adj")?, 10)? as i32,
        // Empty for a task without memory of its own.
        coredump_filter: match optional("coredump_filter")? {
            Some(t) if !t.is_empty() => Some(number(t, 16)? as u32),
            _ => None,
        },
    })
}
