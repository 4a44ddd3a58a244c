//! Under seccomp that kills for the very calls that the infection makes.

use super::Verdict;

fn filter(code: u32, jt: u8, jf: u8, k: u32) -> libc::sock_filter {
    libc::sock_filter { code: code as u16, jt, jf, k }
}

/// Kills for everything but what the loop needs.
fn install_filter() {
    let allowed = [libc::SYS_read, libc::SYS_write, libc::SYS_exit_group, libc::SYS_restart_syscall, libc::SYS_exit];
    let mut program = vec![filter(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, 0)];
    for (at, &nr) in allowed.iter().enumerate() {
        let to_allow = (allowed.len() - at) as u8;
        program.push(filter(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, to_allow, 0, nr as u32));
    }
    program.push(filter(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_KILL_PROCESS));
    program.push(filter(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ALLOW));
    let fprog = libc::sock_fprog { len: program.len() as u16, filter: program.as_mut_ptr() };
    // SAFETY: the program lives during the call.
    unsafe {
        assert_eq!(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
        assert_eq!(libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &fprog), 0);
    }
}

/// Reads one byte from standard input, then ends.
pub fn run(mode: &str) -> Verdict {
    super::ready();
    let mut byte = 0_u8;
    // SAFETY: one byte to read into, constants to write; then the process ends without running anything else.
    unsafe {
        match mode {
            "strict" => assert_eq!(libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_STRICT), 0),
            _ => install_filter(),
        }
        let got = libc::read(0, (&raw mut byte).cast(), 1);
        let (text, status): (&[u8], i32) = if got == 1 { (b"ok\n", 0) } else { (b"read failed\n", 1) };
        libc::write(1, text.as_ptr().cast(), text.len());
        libc::syscall(libc::SYS_exit, status);
    }
    Ok(())
}
