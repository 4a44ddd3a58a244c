//! The engine is killed at random moments; the victim must not notice, and nothing may be left in it.

use std::time::Duration;

use crate::process::{Looks, Victim};

/// Moments between 0 and `span_us`, spread by a fixed recurrence.
fn moments(count: u64, span_us: u64) -> impl Iterator<Item = Duration> {
    (0..count).map(move |n| Duration::from_micros(n * 7919 % 1009 * span_us / 1009))
}

/// Kills an engine `kills` times while it works on the victim.
pub fn torment(victim: &Victim, kills: u64, span_us: u64) {
    let looks = Looks::at_rest(victim.pid());
    let pid = victim.pid().to_string();
    for moment in moments(kills, span_us) {
        let (engine, _) = Victim::start(&["engine", &pid]);
        std::thread::sleep(moment);
        engine.kill();
        looks.wait_for(victim.pid());
    }
}

#[test]
fn one_thread_asleep() {
    let (mut victim, _) = Victim::start(&["threads", "0"]);
    std::thread::sleep(Duration::from_millis(100));
    torment(&victim, 40, 2_000);
    victim.tell();
    assert_eq!(victim.verdict(), Ok(()));
}

/// Wherever it fails, it puts back what it has done.
#[test]
fn an_engine_without_descriptors() {
    let (mut victim, _) = Victim::start(&["threads", "3"]);
    std::thread::sleep(Duration::from_millis(100));
    let looks = Looks::at_rest(victim.pid());
    let (engine, _) = Victim::start(&["poor", &victim.pid().to_string()]);
    assert_eq!(engine.verdict(), Ok(()));
    looks.wait_for(victim.pid());
    victim.tell();
    assert_eq!(victim.verdict(), Ok(()));
}

#[test]
fn registers_of_a_running_thread() {
    let (victim, lines) = Victim::start(&["registers"]);
    if lines.iter().any(|line| line.starts_with("skip")) {
        eprintln!("skipped: {lines:?}");
        return;
    }
    let flag = u64::from_str_radix(&lines[0], 16).expect("the address of the flag");
    torment(&victim, 40, 2_000);
    let task = criu_compel::SeizedTask::seize(victim.pid()).expect("seize");
    let infected = task.infect().expect("infect");
    infected.memory().write(flag, &1_u64.to_le_bytes()).expect("setting the flag");
    infected.cure().expect("cure").release(criu_compel::Resume::AsBefore).expect("release");
    assert_eq!(victim.verdict(), Ok(()));
}

#[test]
fn threads_asleep() {
    let (mut victim, _) = Victim::start(&["threads", "40"]);
    std::thread::sleep(Duration::from_millis(200));
    torment(&victim, 60, 8_000);
    victim.tell();
    assert_eq!(victim.verdict(), Ok(()));
}

#[test]
fn threads_that_compute() {
    let (mut victim, _) = Victim::start(&["busy", "6"]);
    std::thread::sleep(Duration::from_millis(200));
    torment(&victim, 40, 8_000);
    victim.tell();
    assert_eq!(victim.verdict(), Ok(()));
}
