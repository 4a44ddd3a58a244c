//! A job of an interactive shell has the terminal's foreground again: it reads what is typed, stops and is killed by keys.

mod support;

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::tcgetpgrp;
use support::{CRIU, criu, may_dump, stderr};

/// A shell on a terminal of its own.
struct Shell {
    master: File,
    /// For the terminal not to be hung up meanwhile.
    _slave: OwnedFd,
    child: Child,
    seen: String,
}

impl Shell {
    fn new() -> Option<Self> {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let name = ptsname(&master, Vec::new()).unwrap();
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
        let slave = openat(CWD, &*name, flags, Mode::empty()).unwrap();
        let stdio = || Stdio::from(slave.try_clone().unwrap());
        let mut command = Command::new("setsid");
        command.args(["-c", "bash", "--norc", "--noediting", "-i"]).env("PS1", "");
        let child = command.stdin(stdio()).stdout(stdio()).stderr(stdio()).spawn().ok()?;
        rustix::io::ioctl_fionbio(&master, true).unwrap();
        Some(Shell { master: File::from(master), _slave: slave, child, seen: String::new() })
    }

    fn types(&mut self, text: &str) {
        self.master.write_all(text.as_bytes()).unwrap();
    }

    fn until(&mut self, what: &str, mut done: impl FnMut(&mut Self) -> bool) {
        let end = Instant::now() + Duration::from_secs(30);
        while !done(self) {
            let mut bytes = [0; 4096];
            if let Ok(n) = self.master.read(&mut bytes) {
                self.seen.push_str(&String::from_utf8_lossy(&bytes[..n]));
            }
            assert!(Instant::now() < end, "{what}: {:?}", self.seen);
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Who has the foreground: the master tells it to everybody.
    fn foreground(&self) -> Option<i32> {
        tcgetpgrp(&self.master).ok().map(|p| p.as_raw_nonzero().get())
    }

    /// `cat` tells what it has read once more, after the terminal's echo.
    fn answers(&mut self, word: &str) {
        self.types(&format!("{word}\n"));
        let twice = format!("{word}\r\n{word}\r\n");
        self.until("no answer", |s| s.seen.contains(&twice));
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn name_of(pid: i32) -> String {
    std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default().trim().into()
}

#[test]
fn a_shell_job_is_in_the_foreground_again() {
    if let Err(why) = may_dump() {
        println!("skipped: {why}");
        return;
    }
    let Some(mut shell) = Shell::new() else {
        println!("skipped: there is no setsid or bash");
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let images = dir.path().to_str().unwrap();
    let bash = shell.child.id() as i32;
    shell.until("no shell", |s| s.foreground() == Some(bash));
    shell.types("cat\n");
    shell.until("no job", |s| s.foreground().is_some_and(|job| name_of(job) == "cat"));
    let job = shell.foreground().unwrap();
    shell.answers("before");
    let o = criu(&["dump", "-t", &job.to_string(), "-D", images, "--shell-job"]);
    assert!(o.status.success(), "{}", stderr(&o));
    shell.until("the shell has not got it back", |s| s.foreground() == Some(bash));

    shell.types(&format!("{CRIU} restore -D {images} --shell-job\n"));
    shell.until("the job has not got it", |s| s.foreground() == Some(job));
    shell.answers("after");
    // ^Z
    shell.types("\x1a");
    shell.until("the shell has not got it when the job stopped", |s| s.foreground() == Some(bash));
    shell.types("fg\n");
    shell.until("the job has not got it again", |s| s.foreground() == Some(job));
    shell.answers("again");
    // ^C
    shell.types("\x03");
    shell.until("the shell has not got it at the end", |s| s.foreground() == Some(bash));
    shell.types("echo status $?\n");
    shell.until("another end", |s| s.seen.contains("status 130\r\n"));
}
