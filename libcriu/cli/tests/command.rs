//! The command as a user meets it: texts, exit codes, files.

mod support;

use std::fs;
use std::os::fd::AsRawFd;
use std::process::Command;

use support::{CRIU, Victim, criu, may_dump, stderr, stdout};

#[test]
fn version_is_on_the_first_line() {
    for flag in ["--version", "-V", "--vers"] {
        let o = criu(&[flag]);
        assert!(o.status.success());
        assert_eq!(stdout(&o).lines().next(), Some("Version: 4.2"));
    }
}

#[test]
fn help_goes_to_standard_output() {
    let o = criu(&["--help"]);
    assert!(o.status.success() && stdout(&o).contains("--leave-running") && o.stderr.is_empty());
}

#[test]
fn wrong_command_lines_exit_with_one() {
    for args in [
        &[][..],
        &["frobnicate"],
        &["dump"],
        &["dump", "-t"],
        &["dump", "-t", "x"],
        &["dump", "-t", "1", "extra"],
        &["restore", "--exec-cmd"],
        &["restore", "-S"],
        &["restore", "word"],
        &["swrk"],
        &["swrk", "x"],
        &["swrk", "977"],
        &["swrk", "0"],
        &["cpuinfo"],
        &["check", "--feature", "nonsense"],
        &["--config", "/nonexistent", "check"],
    ] {
        let o = criu(args);
        assert_eq!(o.status.code(), Some(1), "{args:?}");
        assert!(stderr(&o).starts_with("criu: "), "{args:?}: {}", stderr(&o));
    }
}

#[test]
fn what_is_not_there_yet_is_refused_by_name() {
    for command in ["pre-dump", "page-server", "lazy-pages", "dedup"] {
        let o = criu(&[command]);
        assert_eq!(o.status.code(), Some(1));
        assert!(stderr(&o).contains(&format!("{command}: not there yet")), "{}", stderr(&o));
    }
    let dir = tempfile::tempdir().unwrap();
    for option in ["--page-server", "--lazy-pages", "--stream", "--auto-dedup"] {
        let o = criu(&["dump", "-t", "1", "-D", dir.path().to_str().unwrap(), option]);
        assert_eq!(o.status.code(), Some(1));
        assert!(stderr(&o).contains(&format!("{option}: this option's feature is not there yet")), "{}", stderr(&o));
    }
}

#[test]
fn check_answers_by_text_and_exit_code() {
    let o = criu(&["check"]);
    if o.status.success() {
        assert!(stdout(&o).contains("Looks good."));
    } else {
        assert!(stdout(&o).contains("missing, needed"), "{}", stdout(&o));
    }
    let list = stdout(&criu(&["check", "--feature", "list"]));
    assert_eq!(list.lines().count(), 45);
    for line in list.lines() {
        let name = line.split_whitespace().next().unwrap();
        let o = criu(&["check", "--feature", name]);
        match o.status.code() {
            Some(0) => assert!(stdout(&o).is_empty()),
            Some(1) => assert!(stdout(&o).starts_with(&format!("{name} is not supported: ")), "{}", stdout(&o)),
            code => panic!("{name}: {code:?}"),
        }
    }
}

#[test]
fn a_broken_config_file_is_named_with_its_line() {
    let dir = tempfile::tempdir().unwrap();
    let conf = dir.path().join("x.conf");
    fs::write(&conf, "shell-job\nnonsense\n").unwrap();
    let o = criu(&["check", "--config", conf.to_str().unwrap()]);
    assert_eq!(o.status.code(), Some(1));
    assert!(stderr(&o).contains("x.conf:2: unrecognized option `nonsense`"), "{}", stderr(&o));
}

#[test]
fn the_default_config_is_the_users_own() {
    let home = tempfile::tempdir().unwrap();
    fs::create_dir(home.path().join(".criu")).unwrap();
    fs::write(home.path().join(".criu/default.conf"), "nonsense\n").unwrap();
    let run = |args: &[&str]| Command::new(CRIU).args(args).env("HOME", home.path()).output().unwrap();
    assert!(stderr(&run(&["check"])).contains("default.conf:1"));
    assert!(!stderr(&run(&["check", "--no-default-config"])).contains("default.conf"));
    let empty = home.path().join("empty");
    fs::write(&empty, "").unwrap();
    assert!(!stderr(&run(&["check", "--config", empty.to_str().unwrap()])).contains("default.conf"));
}

#[test]
fn cpuinfo_is_saved_and_compared() {
    let dir = tempfile::tempdir().unwrap();
    let d = dir.path().to_str().unwrap();
    assert_eq!(criu(&["cpuinfo", "check", "-D", d]).status.code(), Some(1));
    assert!(criu(&["cpuinfo", "dump", "-D", d]).status.success());
    assert!(criu(&["cpuinfo", "check", "-D", d, "--cpu-cap=all"]).status.success());
}

#[test]
fn a_pid_that_does_not_exist_fails_and_leaves_no_checkpoint() {
    let dir = tempfile::tempdir().unwrap();
    let o = criu(&["dump", "-t", "4194303", "-D", dir.path().to_str().unwrap(), "-o", "dump.log"]);
    assert_eq!(o.status.code(), Some(1));
    assert!(stderr(&o).contains("4194303"), "{}", stderr(&o));
    let log = fs::read_to_string(dir.path().join("dump.log")).unwrap();
    let line = log.lines().find(|l| l.contains("Error (")).unwrap();
    assert!(line.starts_with("(00.0"), "{line}");
    assert!(!dir.path().join("inventory.img").exists());
}

#[test]
fn a_dump_writes_log_and_statistics_and_runs_scripts() {
    if let Err(why) = may_dump() {
        return eprintln!("skipped: {why}");
    }
    let images = tempfile::tempdir().unwrap();
    let work = tempfile::tempdir().unwrap();
    let stages = work.path().join("stages");
    let script = format!("echo $CRTOOLS_SCRIPT_ACTION $CRTOOLS_IMAGE_DIR >> {}", stages.display());
    let victim = Victim::new();
    // The log exists beforehand and is truncated in place.
    fs::write(work.path().join("dump.log"), "old text\n").unwrap();
    let o = criu(&[
        "dump",
        "-t",
        &victim.pid().to_string(),
        "-D",
        images.path().to_str().unwrap(),
        "-W",
        work.path().to_str().unwrap(),
        "-o",
        "dump.log",
        "-v4",
        "-R",
        "--action-script",
        &script,
        "--display-stats",
    ]);
    assert!(o.status.success(), "{}", stderr(&o));
    assert!(stdout(&o).contains("Memory pages written"));
    assert!(victim.is_unharmed());
    assert!(images.path().join("inventory.img").exists());
    assert!(work.path().join("stats-dump").exists() && !images.path().join("stats-dump").exists());
    let log = fs::read_to_string(work.path().join("dump.log")).unwrap();
    assert!(log.starts_with("(00.") && !log.contains("old text") && !log.contains("Error "), "{log}");
    let stages = fs::read_to_string(stages).unwrap();
    let real = fs::canonicalize(images.path()).unwrap();
    assert!(stages.contains(&format!("pre-dump {}\n", real.display())), "{stages}");
    assert!(stages.contains("post-dump "), "{stages}");
}

#[test]
fn a_failing_script_fails_the_dump_and_spares_the_target() {
    if let Err(why) = may_dump() {
        return eprintln!("skipped: {why}");
    }
    for stage in ["pre-dump", "post-dump"] {
        let images = tempfile::tempdir().unwrap();
        let victim = Victim::new();
        let script = format!("[ $CRTOOLS_SCRIPT_ACTION != {stage} ]");
        let pid = victim.pid().to_string();
        let o = criu(&["dump", "-t", &pid, "-D", images.path().to_str().unwrap(), "--action-script", &script]);
        assert_eq!(o.status.code(), Some(1));
        assert!(stderr(&o).contains(&format!("at stage {stage}: it exited with 1")), "{}", stderr(&o));
        assert!(victim.is_unharmed(), "{stage}");
    }
}

#[test]
fn a_dump_ends_its_target_and_says_so_on_the_status_descriptor() {
    if let Err(why) = may_dump() {
        return eprintln!("skipped: {why}");
    }
    let images = tempfile::tempdir().unwrap();
    let victim = Victim::new();
    let (read, write) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).unwrap();
    let guard = support::spawning();
    rustix::io::fcntl_setfd(&write, rustix::io::FdFlags::empty()).unwrap();
    let (pid, fd) = (victim.pid().to_string(), write.as_raw_fd().to_string());
    let o = criu(&["dump", "-t", &pid, "-D", images.path().to_str().unwrap(), "--status-fd", &fd]);
    assert!(o.status.success(), "{}", stderr(&o));
    drop((write, guard));
    let mut bytes = [9u8; 8];
    assert_eq!(rustix::io::read(&read, &mut bytes).unwrap(), 1);
    assert_eq!(bytes[0], 0);
    assert!(victim.is_killed());
}

#[test]
fn check_of_a_tree_changes_nothing() {
    if let Err(why) = may_dump() {
        return eprintln!("skipped: {why}");
    }
    let dir = tempfile::tempdir().unwrap();
    let victim = Victim::new();
    let o = criu(&["check", "-t", &victim.pid().to_string(), "-D", dir.path().to_str().unwrap()]);
    assert!(o.status.success(), "{}{}", stdout(&o), stderr(&o));
    assert!(stdout(&o).contains("can be dumped"));
    assert!(victim.is_unharmed());
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0, "no image was written");
}

/// Dumps the victim and collects what is left of it, so that its pid is free.
fn dumped(images: &tempfile::TempDir) -> i32 {
    let victim = Victim::new();
    let pid = victim.pid();
    let o = criu(&["dump", "-t", &pid.to_string(), "-D", images.path().to_str().unwrap()]);
    assert!(o.status.success(), "{}", stderr(&o));
    pid
}

fn kill(pid: i32) {
    let pid = rustix::process::Pid::from_raw(pid).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
}

fn comm(pid: i32) -> Option<String> {
    fs::read_to_string(format!("/proc/{pid}/comm")).ok()
}

#[test]
fn a_detached_restore_leaves_pid_file_statistics_and_the_tree() {
    if let Err(why) = may_dump() {
        return eprintln!("skipped: {why}");
    }
    let images = tempfile::tempdir().unwrap();
    let pid = dumped(&images);
    let dir = images.path().to_str().unwrap();
    let o = criu(&["restore", "-d", "-D", dir, "-o", "restore.log", "-v4", "--pidfile", "pid", "--display-stats"]);
    assert!(o.status.success(), "{}", stderr(&o));
    assert_eq!(fs::read_to_string(images.path().join("pid")).unwrap(), pid.to_string());
    assert_eq!(comm(pid).as_deref(), Some("sleep\n"));
    assert!(images.path().join("stats-restore").exists() && stdout(&o).contains("Pages restored"));
    assert!(!fs::read_to_string(images.path().join("restore.log")).unwrap().contains("Error "));

    // Its pid is taken now.
    let again = criu(&["restore", "-d", "-D", dir]);
    assert_eq!(again.status.code(), Some(1));
    assert!(stderr(&again).contains(&pid.to_string()), "{}", stderr(&again));
    assert_eq!(comm(pid).as_deref(), Some("sleep\n"), "the one that has it is not touched");
    kill(pid);
}

/// Restores the images of a victim with the pid `pid` in the foreground, and waits until it is there.
fn stays(images: &tempfile::TempDir, pid: i32) -> std::process::Child {
    let stays = Command::new(CRIU)
        .args([
            "--no-default-config",
            "restore",
            "-D",
            images.path().to_str().unwrap(),
            "--pidfile",
            "pid",
            "-o",
            "r.log",
        ])
        .spawn()
        .unwrap();
    let pidfile = images.path().join("pid");
    let restored = (0..500).any(|_| {
        std::thread::sleep(std::time::Duration::from_millis(10));
        fs::read_to_string(&pidfile).is_ok_and(|text| text == pid.to_string())
    });
    assert!(restored && comm(pid).as_deref() == Some("sleep\n"));
    stays
}

#[test]
fn a_restore_that_stays_takes_over_the_exit_code() {
    if let Err(why) = may_dump() {
        return eprintln!("skipped: {why}");
    }
    let images = tempfile::tempdir().unwrap();
    let pid = dumped(&images);
    let mut stays = stays(&images, pid);
    kill(pid);
    assert_eq!(stays.wait().unwrap().code(), Some(128 + 9));
}

#[test]
fn a_signal_ends_a_restore_that_stays_and_not_the_tree() {
    if let Err(why) = may_dump() {
        return eprintln!("skipped: {why}");
    }
    let images = tempfile::tempdir().unwrap();
    let pid = dumped(&images);
    let mut stays = stays(&images, pid);
    rustix::process::kill_process(rustix::process::Pid::from_child(&stays), rustix::process::Signal::TERM).unwrap();
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&stays.wait().unwrap()), Some(libc::SIGTERM));
    assert_eq!(comm(pid).as_deref(), Some("sleep\n"));
    kill(pid);
}

#[test]
fn exec_cmd_becomes_the_parent_of_the_restored_root() {
    if let Err(why) = may_dump() {
        return eprintln!("skipped: {why}");
    }
    let images = tempfile::tempdir().unwrap();
    let pid = dumped(&images);
    let line = "echo $CRTOOLS_INIT_PID; cat /proc/$$/task/$$/children; kill -9 $CRTOOLS_INIT_PID";
    let o = criu(&["restore", "-D", images.path().to_str().unwrap(), "--exec-cmd", "--", "/bin/sh", "-c", line]);
    assert!(o.status.success(), "{}", stderr(&o));
    let out = stdout(&o);
    assert_eq!(out.lines().next(), Some(pid.to_string().as_str()));
    assert!(out.lines().nth(1).unwrap().split_whitespace().any(|c| c == pid.to_string()), "{out}");
}

#[test]
fn a_directory_without_inventory_is_no_checkpoint() {
    let dir = tempfile::tempdir().unwrap();
    let o = criu(&["restore", "-d", "-D", dir.path().to_str().unwrap()]);
    assert_eq!(o.status.code(), Some(1));
    assert!(stderr(&o).contains("inventory"), "{}", stderr(&o));
}

#[test]
fn a_pipe_that_leads_out_of_the_tree_is_told_of() {
    let dump = |victim: &Victim| {
        let dir = tempfile::tempdir().unwrap();
        let (pid, images) = (victim.pid().to_string(), dir.path().to_str().unwrap());
        let o = criu(&["dump", "-t", &pid, "-D", images, "-o", "dump.log", "-v4", "-R"]);
        assert!(o.status.success(), "{}", stderr(&o));
        fs::read_to_string(dir.path().join("dump.log")).unwrap()
    };
    let (reader, writer) = std::io::pipe().unwrap();
    let victim = Victim::writing_to(writer);
    // The victim may have inherited other pipes from whoever runs the tests.
    let told = format!("pid {} fd 1 ", victim.pid());
    let is_told = |log: &str| log.lines().any(|l| l.contains(&told) && l.contains("its other end is outside the tree"));
    let log = dump(&victim);
    assert!(is_told(&log), "{log}");
    // Nobody reads any more: nothing is lost.
    drop(reader);
    let log = dump(&victim);
    assert!(!is_told(&log), "{log}");
}
