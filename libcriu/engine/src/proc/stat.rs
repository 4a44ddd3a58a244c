//! /proc/PID/stat

/// What the engine needs of the stat line; see proc_pid_stat(5).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stat {
    /// May hold any byte but 0.
    pub comm: Vec<u8>,
    pub state: u8,
    pub ppid: i32,
    pub pgid: i32,
    pub sid: i32,
    /// The kernel's PF_* flags.
    pub flags: u32,
    pub nice: i32,
    pub threads: u32,
    /// In clock ticks since boot.
    pub start_time: u64,
    pub resident_pages: u64,
    pub start_code: u64,
    pub end_code: u64,
    pub start_stack: u64,
    /// By which its parent is told of its end; 0 for none.
    pub exit_signal: i32,
    pub rt_priority: u32,
    pub policy: u32,
    pub start_data: u64,
    pub end_data: u64,
    pub start_brk: u64,
    pub arg_start: u64,
    pub arg_end: u64,
    pub env_start: u64,
    pub env_end: u64,
    /// As waitpid gives it.
    pub exit_code: u32,
}

impl Stat {
    /// It has ended, and is nothing but a number.
    pub fn is_dead(&self) -> bool {
        matches!(self.state, b'Z' | b'X')
    }

    pub(super) fn parse(line: &[u8]) -> Option<Stat> {
        let open = line.iter().position(|&b| b == b'(')?;
        let close = line.iter().rposition(|&b| b == b')')?;
        let comm = line.get(open + 1..close)?.to_vec();
        let rest = std::str::from_utf8(line.get(close + 1..)?).ok()?;
        let f: Vec<&str> = rest.split_ascii_whitespace().collect();
        // `n` is the field's number in the man page; the state is 3.
        let u = |n: usize| f.get(n - 3)?.parse::<u64>().ok();
        let i = |n: usize| f.get(n - 3)?.parse::<i32>().ok();
        Some(Stat {
            comm,
            state: *f.first()?.as_bytes().first()?,
            ppid: i(4)?,
            pgid: i(5)?,
            sid: i(6)?,
            flags: u(9)? as u32,
            nice: i(19)?,
            threads: u(20)? as u32,
            start_time: u(22)?,
            resident_pages: u(24)?,
            start_code: u(26)?,
            end_code: u(27)?,
            start_stack: u(28)?,
            exit_signal: i(38)?,
            rt_priority: u(40)? as u32,
            policy: u(41)? as u32,
            start_data: u(45)?,
            end_data: u(46)?,
            start_brk: u(47)?,
            arg_start: u(48)?,
            arg_end: u(49)?,
            env_start: u(50)?,
            env_end: u(51)?,
            exit_code: i(52)? as u32,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::Stat;

    #[test]
    fn a_name_with_parentheses() {
        let line =
            b"17 (a) b (c) S 1 2 3 0 -1 4194304 100 0 0 0 0 0 0 0 20 -5 3 0 999 3133440 391 18446744073709551615 \
            10 11 12 0 0 0 0 0 0 0 0 0 17 1 7 1 0 0 0 20 21 22 23 24 25 26 1792\n";
        let s = Stat::parse(line).unwrap();
        assert_eq!(s.comm, b"a) b (c");
        assert_eq!((s.state, s.ppid, s.pgid, s.sid), (b'S', 1, 2, 3));
        assert_eq!((s.nice, s.threads, s.start_time), (-5, 3, 999));
        assert_eq!((s.start_code, s.end_code, s.start_stack), (10, 11, 12));
        assert_eq!((s.exit_signal, s.rt_priority, s.policy), (17, 7, 1));
        assert_eq!((s.start_data, s.start_brk, s.env_end, s.exit_code), (20, 22, 26, 1792));
        assert!(Stat::parse(b"17 (x) S 1").is_none());
    }
}
