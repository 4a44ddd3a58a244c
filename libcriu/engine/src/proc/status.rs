//! /proc/PID/status and its form for a thread

/// What the engine needs of it; see proc_pid_status(5).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// The thread's name, escapes of control characters undone.
    pub name: Vec<u8>,
    pub umask: u32,
    /// The process that the thread belongs to.
    pub tgid: i32,
    pub tracer_pid: i32,
    /// The task's ids in every pid namespace, from the reader's to its own.
    pub ns_pids: Vec<i32>,
    /// Real, effective, saved, filesystem.
    pub uids: [u32; 4],
    pub gids: [u32; 4],
    pub groups: Vec<u32>,
    pub cap_inh: u64,
    pub cap_prm: u64,
    pub cap_eff: u64,
    pub cap_bnd: u64,
    pub cap_amb: u64,
    pub sig_blocked: u64,
    pub no_new_privs: bool,
    /// 0 none, 1 strict, 2 filter.
    pub seccomp_mode: u32,
    pub seccomp_filters: u32,
    /// `VmLck`: locked memory of the process in KiB.
    pub locked_kb: u64,
    /// Absent in kernels before 5.0.
    pub thp_enabled: Option<bool>,
    /// `x86_Thread_features`: `shstk`, `wrss`; empty when none is on.
    pub x86_features: String,
    /// `untag_mask`: which bits of an address count (Linux 6.4).
    pub untag_mask: Option<u64>,
    /// Of `Speculation_Store_Bypass`: `thread vulnerable`, `thread mitigated` ...
    pub store_bypass: String,
}

impl Status {
    pub fn parse(bytes: &[u8]) -> Option<Status> {
        let text = String::from_utf8_lossy(bytes);
        // Every line but the name is ASCII.
        let mut s = Status { name: unescape(name(bytes)), ..Status::default() };
        let mut ids = 0;
        for line in text.lines() {
            let Some((key, value)) = line.split_once(':') else { continue };
            let value = value.trim();
            match key {
                "Umask" => s.umask = u32::from_str_radix(value, 8).ok()?,
                "Tgid" => s.tgid = value.parse().ok()?,
                "TracerPid" => s.tracer_pid = value.parse().ok()?,
                "NSpid" => s.ns_pids = numbers(value)?,
                "Uid" => {
                    s.uids = numbers(value)?.try_into().ok()?;
                    ids += 1;
                }
                "Gid" => {
                    s.gids = numbers(value)?.try_into().ok()?;
                    ids += 1;
                }
                "Groups" => s.groups = numbers(value)?,
                "CapInh" => s.cap_inh = hex(value)?,
                "CapPrm" => s.cap_prm = hex(value)?,
                "CapEff" => s.cap_eff = hex(value)?,
                "CapBnd" => s.cap_bnd = hex(value)?,
                "CapAmb" => s.cap_amb = hex(value)?,
                "SigBlk" => s.sig_blocked = hex(value)?,
                "NoNewPrivs" => s.no_new_privs = value == "1",
                "Seccomp" => s.seccomp_mode = value.parse().ok()?,
                "Seccomp_filters" => s.seccomp_filters = value.parse().ok()?,
                "VmLck" => s.locked_kb = value.split(' ').next()?.parse().ok()?,
                "THP_enabled" => s.thp_enabled = Some(value == "1"),
                "x86_Thread_features" => s.x86_features = value.to_owned(),
                "untag_mask" => s.untag_mask = hex(value.trim_start_matches("0x")),
                "Speculation_Store_Bypass" => s.store_bypass = value.to_owned(),
                _ => {}
            }
        }
        (ids == 2).then_some(s)
    }
}

/// The first line's value: any bytes, for the kernel cuts a name wherever that is in a character.
fn name(bytes: &[u8]) -> &[u8] {
    let line = bytes.split(|b| *b == b'\n').next().unwrap_or_default();
    line.strip_prefix(b"Name:\t").unwrap_or_default()
}

/// The file shows a newline as `\n` and a backslash as `\\`.
fn unescape(name: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(name.len());
    let mut bytes = name.iter().copied();
    while let Some(b) = bytes.next() {
        match b {
            b'\\' => match bytes.next() {
                Some(b'n') => out.push(b'\n'),
                Some(other) => out.push(other),
                None => out.push(b),
            },
            _ => out.push(b),
        }
    }
    out
}

fn numbers<T: std::str::FromStr>(value: &str) -> Option<Vec<T>> {
    value.split_ascii_whitespace().map(|n| n.parse().ok()).collect()
}

fn hex(value: &str) -> Option<u64> {
    u64::from_str_radix(value, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::Status;

    #[test]
    fn the_fields_that_matter() {
        let s = Status::parse(
            b"Name:\tx:y\\n \\\\z\nUmask:\t0027\nTracerPid:\t5\nNSpid:\t100\t7\nUid:\t1\t2\t3\t4\nGid:\t5\t6\t7\t8\nGroups:\t10 20 \n\
              VmLck:\t      24 kB\nCapInh:\t00000000000000ff\nNoNewPrivs:\t1\nSeccomp:\t2\nSeccomp_filters:\t3\nTHP_enabled:\t0\n",
        )
        .unwrap();
        assert_eq!((s.umask, s.tracer_pid, s.uids, s.gids), (0o27, 5, [1, 2, 3, 4], [5, 6, 7, 8]));
        assert_eq!((s.ns_pids, s.groups, s.cap_inh), (vec![100, 7], vec![10, 20], 0xff));
        assert_eq!((s.no_new_privs, s.seccomp_mode, s.seccomp_filters, s.thp_enabled), (true, 2, 3, Some(false)));
        assert_eq!(s.locked_kb, 24);
        assert_eq!(s.name, b"x:y\n \\z");
        assert!(Status::parse(b"Name:\tx\n").is_none());
    }
}
