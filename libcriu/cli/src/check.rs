//! `criu check`: the kernel, one feature by name, or a tree that is to be dumped.

use criu_engine::check::{FEATURES, Level, Probe, feature};
use criu_engine::rpc::open_path;
use criu_images::options::Settings;

use crate::operator::CommandOperator;
use crate::{FAILED, Failure, prepare, print};

/// Exits with 0 when all is there.
pub fn check(settings: Settings) -> Result<u8, Failure> {
    if let Some(pid) = settings.msg.pid {
        return tree(settings, pid);
    }
    let work = open_path(settings.command.work_dir.as_deref().unwrap_or("."), "work directory")?;
    prepare::start_log(&settings, &work)?;
    if !settings.command.features.is_empty() {
        return features(&settings.command.features);
    }
    let own = &settings.command;
    let level = match (own.all || own.experimental, own.extra) {
        (true, _) => Level::Experimental,
        (false, true) => Level::Extra,
        (false, false) => Level::Basic,
    };
    Ok(kernel(level))
}

/// Needed features that are missing fail the check; others are shown.
fn kernel(level: Level) -> u8 {
    let report = criu_engine::check::check(level);
    let mut needed = 0;
    for (f, why) in &report.missing {
        let rank = if f.level == Level::Basic { "needed" } else { "wanted for some trees" };
        print::line(format_args!("{}: missing, {rank}: {} ({why})", f.name, f.purpose));
        needed += usize::from(f.level == Level::Basic);
    }
    match (report.missing.len(), needed) {
        (0, _) => print::line("Looks good."),
        (_, 0) => print::line("Looks good but some kernel features are missing: what needs them will be refused."),
        _ => print::line("Does not look good: dump or restore will not work on this kernel."),
    }
    if report.missing.is_empty() { 0 } else { FAILED }
}

/// Each name must be known and there.
fn features(names: &[String]) -> Result<u8, Failure> {
    let mut code = 0;
    for name in names {
        if name == "list" {
            for f in FEATURES {
                print::line(format_args!("{:<28}{}", f.name, f.purpose));
            }
            continue;
        }
        let known = feature(name)
            .ok_or_else(|| Failure::Usage(format!("--feature {name}: not known; `--feature list` shows all")))?;
        match (known.probe)() {
            Probe::Present => log::info!("{name} is there"),
            Probe::Absent(why) => {
                print::line(format_args!("{name} is not supported: {why}"));
                code = FAILED;
            }
        }
    }
    Ok(code)
}

/// Would a dump of this tree work? Shows everything that stands in its way and changes nothing.
fn tree(settings: Settings, pid: i32) -> Result<u8, Failure> {
    let prepared = prepare::operation(settings, pid)?;
    let mut operator = CommandOperator::new(Default::default());
    crate::dump::note_signals();
    let found = criu_engine::preflight(&prepared.options, &mut operator)?;
    for blocker in &found {
        log::error!("{blocker}");
        print::line(blocker);
    }
    if found.is_empty() {
        print::line(format_args!("pid {pid} can be dumped."));
        return Ok(0);
    }
    Ok(FAILED)
}
