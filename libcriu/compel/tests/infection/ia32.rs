//! The same of 32-bit programs: infected, cured, left by a killed engine, they find home.

use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

use criu_compel::{Resume, SeizedTask};

use crate::killed_engine::torment;
use crate::pause;
use crate::process::{Looks, Victim};

/// The program, built once; `None` where it cannot be built or run.
fn program() -> Option<&'static PathBuf> {
    static BUILT: OnceLock<Option<PathBuf>> = OnceLock::new();
    BUILT.get_or_init(build).as_ref()
}

fn build() -> Option<PathBuf> {
    let out = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("infection-ia32");
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/infection/ia32.c");
    let alone = ["-m32", "-O1", "-nostdlib", "-static", "-ffreestanding", "-fno-pic", "-no-pie"];
    let plain = ["-fno-stack-protector", "-fcf-protection=none", "-o"];
    let built = Command::new("gcc").args(alone).args(plain).arg(&out).arg(source).status();
    let runs = |_: &std::process::ExitStatus| Command::new(&out).arg("nothing").output().is_ok();
    match built {
        Ok(status) if status.success() && runs(&status) => Some(out),
        _ => {
            eprintln!("skipped: no compiler or no kernel for 32-bit programs");
            None
        }
    }
}

fn visit(pid: i32) {
    let mut infected = SeizedTask::seize(pid).expect("seize").infect().expect("infect");
    assert_eq!(infected.syscall(libc::SYS_getpid, [0; 6]).expect("getpid"), i64::from(pid));
    infected.query(&[]).expect("query");
    infected.cure().expect("cure").release(Resume::AsBefore).expect("release");
}

fn set_flag(pid: i32, flag: &str, leave: impl FnOnce(criu_compel::Infected)) {
    let flag = u64::from_str_radix(flag, 16).expect("the address of the flag");
    let infected = SeizedTask::seize(pid).expect("seize").infect().expect("infect");
    infected.memory().write(flag, &1_u32.to_le_bytes()).expect("setting the flag");
    leave(infected);
}

#[test]
fn every_register_stays() {
    let Some(program) = program() else { return };
    let (victim, lines) = Victim::start_program(program, &["registers"]);
    let looks = Looks::at_rest(victim.pid());
    for _ in 0..20 {
        visit(victim.pid());
        pause(1);
    }
    assert_eq!(Looks::at_rest(victim.pid()), looks);
    // Not cured: it goes home by itself, with all registers.
    set_flag(victim.pid(), &lines[0], drop);
    assert_eq!(victim.verdict(), Ok(()));
}

#[test]
fn sleeps_end_as_if_nobody_had_looked() {
    let Some(program) = program() else { return };
    let (victim, _) = Victim::start_program(program, &["sleep"]);
    victim.wait_for_state("S");
    for _ in 0..10 {
        visit(victim.pid());
        pause(120);
    }
    assert_eq!(victim.verdict(), Ok(()));
}

#[test]
fn engines_are_killed_beside_it() {
    let Some(program) = program() else { return };
    let (victim, lines) = Victim::start_program(program, &["registers"]);
    torment(&victim, 40, 2_000);
    let cured = |infected: criu_compel::Infected| {
        infected.cure().expect("cure").release(Resume::AsBefore).expect("release");
    };
    set_flag(victim.pid(), &lines[0], cured);
    assert_eq!(victim.verdict(), Ok(()));
}
