//! What the caller hands down to the command: limits, settings of its process, a HOME of another user, a pid namespace.

mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use support::{CRIU, NOBODY, Victim, criu, may_dump, stderr, stdout};

const PR_SET_MDWE: i32 = 65;
const PR_MDWE_REFUSE_EXEC_GAIN: u64 = 1;

fn command(verb: &str, images: &Path, more: &[&str]) -> Vec<String> {
    let dir = images.to_str().unwrap();
    let words = [CRIU, "--no-default-config", verb, "-D", dir, "-o", "own.log"];
    words.iter().chain(more).map(ToString::to_string).collect()
}

/// The command, by a process for which one prctl was made.
fn after_prctl(option: i32, value: u64, words: &[String]) -> Command {
    let mut command = Command::new(&words[0]);
    command.args(&words[1..]).stdin(Stdio::null());
    // SAFETY: prctl is async-signal-safe, and these options take numbers.
    unsafe {
        command.pre_exec(move || match libc::prctl(option, value, 0, 0, 0) {
            0 => Ok(()),
            _ => Err(std::io::Error::last_os_error()),
        });
    }
    command
}

fn signals(pid: i32) -> Vec<String> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    status
        .lines()
        .filter(|l| ["SigBlk", "SigIgn", "SigCgt"].iter().any(|s| l.starts_with(s)))
        .map(str::to_owned)
        .collect()
}

fn kill(pid: i32) {
    let pid = rustix::process::Pid::from_raw(pid).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
}

#[test]
fn a_limit_on_the_size_of_files_is_an_error_and_no_end() {
    if let Err(why) = may_dump() {
        return eprintln!("skipped: {why}");
    }
    let (victim, images) = (Victim::new(), tempfile::tempdir().unwrap());
    let (pid, before) = (victim.pid(), signals(victim.pid()));
    let tree = pid.to_string();
    for kilobytes in ["0", "8"] {
        let limited = Command::new("bash")
            .args(["-c", &format!("ulimit -f {kilobytes}; exec \"$@\""), "bash"])
            .args(command("dump", images.path(), &["-t", &tree]))
            .output()
            .unwrap();
        assert_eq!(limited.status.code(), Some(1), "{limited:?}");
        assert!(stderr(&limited).contains("ulimit -f"), "{}", stderr(&limited));
        assert!(victim.is_unharmed() && !images.path().join("inventory.img").exists());
    }
    let dir = images.path().to_str().unwrap();
    let o = criu(&["dump", "-t", &tree, "-D", dir]);
    assert!(o.status.success(), "{}", stderr(&o));
    drop(victim);
    // What the engine does about the signal is not handed down.
    let o = criu(&["restore", "-d", "-D", dir]);
    assert!(o.status.success(), "{}", stderr(&o));
    assert_eq!(signals(pid), before);
    kill(pid);
}

#[test]
fn a_detached_restore_by_the_first_process_of_a_namespace_is_refused() {
    if let Err(why) = may_dump() {
        return eprintln!("skipped: {why}");
    }
    let images = tempfile::tempdir().unwrap();
    let o = Command::new("unshare")
        .args(["--pid", "--fork"])
        .args(command("restore", images.path(), &["-d"]))
        .output()
        .unwrap();
    assert_eq!(o.status.code(), Some(1));
    assert!(stderr(&o).contains("--restore-detached: this is the first process"), "{}", stderr(&o));
}

#[test]
fn a_caller_with_lazy_timers_does_not_slow_a_dump_down() {
    if let Err(why) = may_dump() {
        return eprintln!("skipped: {why}");
    }
    let (victim, images) = (Victim::new(), tempfile::tempdir().unwrap());
    let tree = victim.pid().to_string();
    // What the engine starts in the end has the slack that it waited with.
    let script = images.path().join("script");
    fs::write(&script, "#!/bin/sh\n[ $CRTOOLS_SCRIPT_ACTION != post-dump ] || cat /proc/self/timerslack_ns\n").unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    let words = command("dump", images.path(), &["-t", &tree, "-R", "--action-script", script.to_str().unwrap()]);
    let o = after_prctl(libc::PR_SET_TIMERSLACK, 1_000_000_000, &words).output().unwrap();
    assert!(o.status.success() && victim.is_unharmed(), "{}", stderr(&o));
    assert_eq!(stdout(&o).trim(), "50000");
}

#[test]
fn a_home_of_another_user_has_no_configuration() {
    if let Err(why) = may_dump() {
        return eprintln!("skipped: {why}");
    }
    if let Err(why) = Command::new(CRIU).arg("--version").uid(NOBODY).gid(NOBODY).current_dir("/").output() {
        return eprintln!("skipped: another user may not execute the command here: {why}");
    }
    let home = tempfile::tempdir().unwrap();
    fs::create_dir(home.path().join(".criu")).unwrap();
    fs::write(home.path().join(".criu/default.conf"), "no such option\n").unwrap();
    let run = || {
        let mut check = Command::new(CRIU);
        check.args(["check", "--feature", "nonsense"]).env("HOME", home.path()).env_remove("CRIU_CONFIG_FILE");
        stderr(&check.uid(NOBODY).gid(NOBODY).current_dir("/").output().unwrap())
    };
    fs::set_permissions(home.path(), fs::Permissions::from_mode(0o700)).unwrap();
    assert!(run().contains("nonsense"), "{}", run());
    // One that can be seen counts.
    fs::set_permissions(home.path(), fs::Permissions::from_mode(0o755)).unwrap();
    assert!(run().contains("config file"), "{}", run());
}

#[test]
fn memory_that_may_not_be_written_and_executed_is_told_apart_from_missing_rights() {
    if let Err(why) = may_dump() {
        return eprintln!("skipped: {why}");
    }
    let (victim, images) = (Victim::new(), tempfile::tempdir().unwrap());
    let pid = victim.pid();
    let dir = images.path().to_str().unwrap();
    let o = criu(&["dump", "-t", &pid.to_string(), "-D", dir]);
    assert!(o.status.success(), "{}", stderr(&o));
    drop(victim);
    let words = command("restore", images.path(), &["-d"]);
    match after_prctl(PR_SET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN, &words).output() {
        Ok(o) => {
            assert_eq!(o.status.code(), Some(1));
            assert!(stderr(&o).contains("PR_SET_MDWE"), "{}", stderr(&o));
        }
        Err(why) => eprintln!("this kernel has no PR_SET_MDWE: {why}"),
    }
    let o = criu(&["restore", "-d", "-D", dir]);
    assert!(o.status.success(), "{}", stderr(&o));
    kill(pid);
}
