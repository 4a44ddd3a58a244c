//! What can be wrong with a request, its surroundings or its images: a clear error, the target unharmed, nothing left behind.

use std::fs;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use criu_images::messages::CoreEntry;
use criu_images::{ImageDir, Kind};
use rustix::process::Signal;

use crate::apart::{self, Job, Surroundings};
use crate::case::Route;
use crate::descendants::{PATIENCE, adopt_orphans, below, kill_all, reap_all, signal, wait_for};
use crate::engine::{Answer, Engine};
use crate::layout::Layout;
use crate::subject::Subject;
use crate::suite::{self, wanted};
use crate::trial::{Running, accepted};
use crate::verdict::{Outcome, Stop, Summary, failed};

type Test = fn(&Bench) -> Outcome;

/// Name and test; each goes over both routes.
const TESTS: [(&str, Test); 16] = [
    ("no_such_pid", no_such_pid),
    ("pid_taken", pid_taken),
    ("wrong_option", wrong_option),
    ("no_images_dir", no_images_dir),
    ("images_dir_is_a_file", images_dir_is_a_file),
    ("read_only_dir", read_only_dir),
    ("full_disk", full_disk),
    ("dead_worker", dead_worker),
    ("no_permission", no_permission),
    ("empty_dir", empty_dir),
    ("no_inventory", no_inventory),
    ("other_architecture", other_architecture),
    ("other_cpu", other_cpu),
    ("truncated_pages", truncated_pages),
    ("truncated_core", truncated_core),
    ("wrong_magic", wrong_magic),
];

/// The errno of a refusal that the contract fixes.
const ESRCH: i32 = 3;
const EEXIST: i32 = 17;
const EBADRQC: i32 = 56;

/// The names of the tests.
pub fn names() -> impl Iterator<Item = &'static str> {
    TESTS.iter().map(|t| t.0)
}

pub fn run(layout: &Layout, filters: &[String]) -> Summary {
    let jobs: Vec<Job> = TESTS
        .iter()
        .flat_map(|t| Route::ALL.iter().map(move |r| format!("input/{}/{}", t.0, r.name())))
        .filter(|name| wanted(name, filters))
        .map(|name| Job { name, surroundings: Surroundings::Plain })
        .collect();
    apart::run(&jobs, layout, 2)
}

/// `no_such_pid/api`
pub fn one(name: &str, layout: &Layout, folder: &Path) -> Outcome {
    let (test, route) = name.split_once('/').ok_or_else(|| failed(format!("no test {name}")))?;
    let test = TESTS.iter().find(|t| t.0 == test).ok_or_else(|| failed(format!("no test {name}")))?;
    let route = if route == "api" { Route::Api } else { Route::Command };
    adopt_orphans()?;
    let subjects = suite::subjects(layout).map_err(failed)?;
    let subject = |name: &str| subjects.iter().find(|s| s.name == name).cloned();
    let bench = Bench {
        layout,
        folder,
        engine: Engine { layout, route, patience: Duration::from_secs(30), terminal: false },
        plain: subject("pipe.data").ok_or_else(|| failed("no subject pipe.data"))?,
        large: subject("memory_private").ok_or_else(|| failed("no subject memory_private"))?,
    };
    let outcome = (test.1)(&bench);
    kill_all();
    outcome
}

struct Bench<'a> {
    layout: &'a Layout,
    folder: &'a Path,
    engine: Engine<'a>,
    /// A small victim, and one of some megabytes.
    plain: Subject,
    large: Subject,
}

impl Bench<'_> {
    fn start<'a>(&'a self, subject: &'a Subject) -> Outcome<Running<'a>> {
        let running = Running::start(subject, self.layout, self.folder)?;
        running.await_ready()?;
        Ok(running)
    }

    /// A checkpoint of the small victim, which is gone.
    fn checkpoint(&self) -> Outcome<(Running<'_>, PathBuf)> {
        let running = self.start(&self.plain)?;
        let images = running.images(1)?;
        accepted("dump", &self.engine.dump(running.pid, &images, &[])?)?;
        reap_all(PATIENCE)?;
        Ok((running, images))
    }

    /// A restore that must fail with these words in its error, and leave nothing.
    fn spoiled(&self, spoil: impl Fn(&Path) -> Outcome, words: &[&str]) -> Outcome {
        let (_running, images) = self.checkpoint()?;
        spoil(&images)?;
        self.refused(&self.engine.restore(&images, &[])?, words)?;
        reap_all(PATIENCE)
    }

    /// The call failed, and says so in one line with all the words. The line of an error names its place or object.
    fn refused(&self, answer: &Answer, words: &[&str]) -> Outcome {
        if answer.ok {
            return Err(failed("it succeeded; it had to fail"));
        }
        let text = format!("{}\n{}", answer.output, answer.log);
        if text.contains("panicked") {
            return Err(failed(format!("a panic: {text}")));
        }
        let has = |l: &str| words.iter().all(|w| l.to_lowercase().contains(&w.to_lowercase()));
        if !text.lines().any(has) {
            return Err(failed(format!("no line has {words:?}: {}", answer.errors())));
        }
        Ok(())
    }

    /// Over the API, errno after the call: what the engine answered.
    fn errno(&self, answer: &Answer, errno: i32) -> Outcome {
        if self.engine.route == Route::Api && !answer.output.contains(&format!(", errno {errno} ")) {
            return Err(failed(format!("errno is not {errno} after the call: {}", answer.output.trim())));
        }
        Ok(())
    }

    fn images(&self) -> Outcome<PathBuf> {
        let images = self.folder.with_extension("images-1");
        fs::create_dir_all(&images).map_err(failed)?;
        Ok(images)
    }
}

fn no_such_pid(bench: &Bench) -> Outcome {
    let answer = bench.engine.dump(i32::MAX / 2, &bench.images()?, &[])?;
    bench.refused(&answer, &["Error", "1073741823"])?;
    bench.errno(&answer, ESRCH)
}

fn pid_taken(bench: &Bench) -> Outcome {
    let running = bench.start(&bench.plain)?;
    let images = running.images(1)?;
    accepted("dump", &bench.engine.dump(running.pid, &images, &["--leave-running".into()])?)?;
    let answer = bench.engine.restore(&images, &[])?;
    bench.refused(&answer, &["Error", &running.pid.to_string()])?;
    bench.errno(&answer, EEXIST)?;
    let end = Instant::now() + PATIENCE;
    while below(std::process::id() as i32) != [running.pid] {
        if Instant::now() > end {
            return Err(failed("a failed restore left processes"));
        }
        let _ = rustix::process::wait(rustix::process::WaitOptions::NOHANG);
        sleep(Duration::from_millis(5));
    }
    running.check()
}

fn wrong_option(bench: &Bench) -> Outcome {
    let running = bench.start(&bench.plain)?;
    let images = running.images(1)?;
    // The last one counts: a log file must be a plain name for the API; the command does not know the option.
    let wrong: &[String] = match bench.engine.route {
        Route::Api => &["-o".into(), "a/b".into()],
        Route::Command => &["--no-such-option".into()],
    };
    let answer = bench.engine.dump(running.pid, &images, wrong)?;
    bench.errno(&answer, EBADRQC)?;
    if answer.ok {
        return Err(failed("it succeeded"));
    }
    if bench.engine.route == Route::Command {
        bench.refused(&answer, &["no-such-option"])?;
    }
    running.check()
}

fn no_images_dir(bench: &Bench) -> Outcome {
    let running = bench.start(&bench.plain)?;
    fs::create_dir_all(bench.folder).map_err(failed)?;
    let answer = bench.engine.dump(running.pid, &bench.folder.with_extension("nowhere"), &[])?;
    bench.refused(&answer, &["No such file"])?;
    running.check()
}

fn images_dir_is_a_file(bench: &Bench) -> Outcome {
    let running = bench.start(&bench.plain)?;
    let file = bench.folder.with_extension("file");
    fs::write(&file, "").map_err(failed)?;
    let answer = bench.engine.dump(running.pid, &file, &[])?;
    bench.refused(&answer, &["Not a directory"])?;
    running.check()
}

/// A tmpfs on `dir` while `body` runs.
fn with_tmpfs(dir: &Path, options: &str, body: impl FnOnce() -> Outcome) -> Outcome {
    fs::create_dir_all(dir).map_err(failed)?;
    let mount =
        Command::new("mount").args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(dir).output().map_err(failed)?;
    if !mount.status.success() {
        let why = String::from_utf8_lossy(&mount.stderr).trim().to_string();
        return Err(Stop::Skipped(format!("no tmpfs can be mounted here: {why}")));
    }
    let outcome = body();
    kill_all();
    let _ = Command::new("umount").arg("-l").arg(dir).status();
    outcome
}

fn read_only_dir(bench: &Bench) -> Outcome {
    let images = bench.folder.with_extension("mount");
    with_tmpfs(&images, "ro", || {
        let running = bench.start(&bench.plain)?;
        let answer = bench.engine.dump(running.pid, &images, &[])?;
        bench.refused(&answer, &["Read-only file system"])?;
        running.check()
    })
}

fn full_disk(bench: &Bench) -> Outcome {
    let images = bench.folder.with_extension("mount");
    with_tmpfs(&images, "size=4m", || {
        let running = bench.start(&bench.large)?;
        let answer = bench.engine.dump(running.pid, &images, &[])?;
        bench.refused(&answer, &["No space left"])?;
        if images.join("inventory.img").exists() {
            return Err(failed("an incomplete checkpoint has an inventory.img"));
        }
        running.check()
    })
}

/// Over the API the worker is killed, and the caller learns it; by the command the engine is the command.
fn dead_worker(bench: &Bench) -> Outcome {
    let running = bench.start(&bench.large)?;
    let images = running.images(1)?;
    let line = bench.engine.arguments("dump", &images, &["-t".into(), running.pid.to_string()]);
    let said = bench.folder.with_extension("said");
    let child = Command::new(bench.engine.program())
        .args(line)
        .stdin(Stdio::null())
        .stderr(fs::File::create(&said).map_err(failed)?)
        .spawn()
        .map_err(failed)?;
    let asked = child.id() as i32;
    let end = Instant::now() + PATIENCE;
    let victim = match bench.engine.route {
        Route::Command => Some(asked),
        Route::Api => loop {
            // It may have left its caller: it is whoever is new below this process.
            let mut all = below(std::process::id() as i32).into_iter();
            match all.find(|p| *p != running.pid && *p != asked && is_worker(*p, bench.layout)) {
                Some(worker) => break Some(worker),
                None if Instant::now() > end => break None,
                None => sleep(Duration::from_micros(100)),
            }
        },
    };
    let victim = victim.ok_or_else(|| failed("no worker was seen below the caller"))?;
    signal(victim, Signal::KILL)?;
    let status = wait_for(asked, PATIENCE)?;
    if status.exit_status() == Some(0) {
        return Err(failed("the call succeeded although its engine was killed"));
    }
    let text = fs::read_to_string(&said).unwrap_or_default();
    if bench.engine.route == Route::Api && !text.contains("returned -") {
        return Err(failed(format!("the caller did not get an error: {status:?} {text}")));
    }
    running.check()
}

/// Does it execute the library?
fn is_worker(pid: i32, layout: &Layout) -> bool {
    fs::read_link(format!("/proc/{pid}/exe")).is_ok_and(|exe| exe.starts_with(layout.lib()))
}

fn no_permission(bench: &Bench) -> Outcome {
    let running = bench.start(&bench.plain)?;
    let images = running.images(1)?;
    let open = |p: &Path| Command::new("chmod").args(["-R", "a+rwx"]).arg(p).status();
    open(&images).map_err(failed)?;
    let line = bench.engine.arguments("dump", &images, &["-t".into(), running.pid.to_string()]);
    // Programs and library where everyone may read them: the build output may be private.
    let room = bench.folder.with_extension("public");
    fs::create_dir_all(&room).map_err(failed)?;
    let program = room.join("program");
    fs::copy(bench.engine.program(), &program).map_err(failed)?;
    fs::copy(bench.layout.lib().join("libcriu.so.2.0"), room.join("libcriu.so.2")).map_err(failed)?;
    open(&room).map_err(failed)?;
    let output = Command::new("setpriv")
        .args(["--reuid", "65534", "--regid", "65534", "--clear-groups", "--inh-caps=-all"])
        .arg(&program)
        .args(line)
        .env("LD_LIBRARY_PATH", &room)
        .stdin(Stdio::null())
        .output()
        .map_err(failed)?;
    let answer = Answer {
        ok: output.status.success(),
        ended: output.status.to_string(),
        output: String::from_utf8_lossy(&output.stderr).into_owned(),
        log: fs::read_to_string(images.join("dump.log")).unwrap_or_default(),
        took: Duration::ZERO,
    };
    let said =
        bench.refused(&answer, &["Error", "permitted"]).or_else(|_| bench.refused(&answer, &["Error", "ermission"]));
    said?;
    running.check()
}

fn empty_dir(bench: &Bench) -> Outcome {
    let answer = bench.engine.restore(&bench.images()?, &[])?;
    bench.refused(&answer, &["Error", "inventory.img"])?;
    reap_all(PATIENCE)
}

fn no_inventory(bench: &Bench) -> Outcome {
    bench.spoiled(|dir| fs::remove_file(dir.join("inventory.img")).map_err(failed), &["Error", "inventory.img"])
}

/// Changes the root's core image.
fn with_core(dir: &Path, change: impl Fn(&mut CoreEntry)) -> Outcome {
    let images = ImageDir::new(OwnedFd::from(fs::File::open(dir).map_err(failed)?));
    let name = core_name(dir)?;
    let id: u64 = name.trim_start_matches("core-").trim_end_matches(".img").parse().map_err(failed)?;
    let mut core: CoreEntry = images.read_one(Kind::Core, id).map_err(failed)?;
    change(&mut core);
    images.write_one(Kind::Core, id, &core).map_err(failed)
}

fn core_name(dir: &Path) -> Outcome<String> {
    let names = fs::read_dir(dir).map_err(failed)?.flatten().map(|e| e.file_name().to_string_lossy().into_owned());
    names.filter(|n| n.starts_with("core-")).min().ok_or_else(|| failed("no core image"))
}

fn other_architecture(bench: &Bench) -> Outcome {
    bench.spoiled(|dir| with_core(dir, |core| core.mtype = 3), &["Error", "core-", "arch"])
}

/// AMX tile data in use: hardly any machine has it, and none with the same area layout by chance.
fn other_cpu(bench: &Bench) -> Outcome {
    let cpu = fs::read_to_string("/proc/cpuinfo").map_err(failed)?;
    if cpu.contains("amx_tile") {
        return Err(Stop::Skipped("this CPU has AMX; no image can ask for more".into()));
    }
    let ask = |core: &mut CoreEntry| {
        let xsave = core.thread_info.as_mut().and_then(|t| t.fpregs.xsave.as_mut());
        if let Some(xsave) = xsave {
            xsave.xstate_bv |= 1 << 18;
        }
    };
    bench.spoiled(|dir| with_core(dir, ask), &["Error", "processor lacks"])
}

fn truncate(path: &Path, part: u64) -> Outcome {
    let file = fs::OpenOptions::new().write(true).open(path).map_err(failed)?;
    let size = file.metadata().map_err(failed)?.len();
    file.set_len(size * part / 4).map_err(failed)
}

fn truncated_pages(bench: &Bench) -> Outcome {
    bench.spoiled(|dir| truncate(&dir.join("pages-1.img"), 2), &["Error", "pages-1.img"])
}

fn truncated_core(bench: &Bench) -> Outcome {
    bench.spoiled(|dir| truncate(&dir.join(core_name(dir)?), 3), &["Error", "core-"])
}

fn wrong_magic(bench: &Bench) -> Outcome {
    let spoil = |dir: &Path| {
        let path = dir.join("files.img");
        let mut bytes = fs::read(&path).map_err(failed)?;
        bytes.iter_mut().take(8).for_each(|b| *b ^= 0x55);
        fs::write(&path, bytes).map_err(failed)
    };
    bench.spoiled(spoil, &["Error", "files.img", "magic"])
}
