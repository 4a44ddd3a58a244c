//! Measuring one row.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use criu_tests::case::Route;
use criu_tests::descendants::{kill_all, reap_all, signal, wait_for};
use criu_tests::engine::Engine;
use criu_tests::layout::Layout;
use criu_tests::trial::accepted;
use criu_tests::verdict::{Outcome, failed};
use rustix::process::Signal;

use super::Row;

/// Medians, in microseconds.
#[derive(Clone, Copy, Debug, Default)]
pub struct Figures {
    pub dump_us: f64,
    pub dump_floor_us: f64,
    pub restore_us: f64,
    pub restore_floor_us: f64,
    pub freeze_us: f64,
}

pub struct Room {
    pub layout: Layout,
    /// Built holder and floor.
    pub programs: PathBuf,
    /// On tmpfs.
    pub images: PathBuf,
}

impl Room {
    pub fn yardstick(&self) -> Outcome<f64> {
        let text = self.floor("yardstick", 40, 0, &self.images)?;
        number(&text, "yardstick_us")
    }

    pub fn measure(&self, row: &Row) -> Outcome<Figures> {
        let mut all: [Vec<f64>; 5] = Default::default();
        for n in 0..row.repeats {
            let folder = self.images.join(format!("{}-{n}", row.kind));
            let one = self.once(row, &folder);
            kill_all();
            let _ = fs::remove_dir_all(&folder);
            for (values, value) in all.iter_mut().zip(one?) {
                values.push(value);
            }
        }
        let [dump_us, dump_floor_us, restore_us, restore_floor_us, freeze_us] = all.map(median);
        Ok(Figures { dump_us, dump_floor_us, restore_us, restore_floor_us, freeze_us })
    }

    /// Floor, freeze, dump and restore of one holder.
    fn once(&self, row: &Row, folder: &Path) -> Outcome<[f64; 5]> {
        let pid = self.start(row, folder)?;
        let scratch = folder.join("floor");
        fs::create_dir_all(&scratch).map_err(failed)?;
        let floor = self.floor(row.kind, row.count, pid, &scratch)?;
        let _ = fs::remove_dir_all(&scratch);
        let dump = self.timed(folder, "dump", &["-t", &pid.to_string()])?;
        reap_all(Duration::from_secs(10))?;
        let restore = self.timed(folder, "restore", &[])?;
        kill_all();
        let _ = fs::remove_dir_all(folder.join("images"));
        let freeze = self.freeze(row, &folder.join("watched"))?;
        Ok([dump, number(&floor, "dump_us")?, restore, number(&floor, "restore_us")?, freeze])
    }

    /// Dump and restore of `row`, the shortest of its repeats, in microseconds.
    pub fn shortest(&self, row: &Row) -> Outcome<(f64, f64)> {
        let mut shortest = (f64::INFINITY, f64::INFINITY);
        for n in 0..row.repeats {
            let folder = self.images.join(format!("{}-{}-{n}", row.kind, row.count));
            let one = self.there_and_back(row, &folder);
            kill_all();
            let _ = fs::remove_dir_all(&folder);
            let (dump, restore) = one?;
            shortest = (shortest.0.min(dump), shortest.1.min(restore));
        }
        Ok(shortest)
    }

    fn there_and_back(&self, row: &Row, folder: &Path) -> Outcome<(f64, f64)> {
        let pid = self.start(row, folder)?;
        let dump = self.timed(folder, "dump", &["-t", &pid.to_string()])?;
        reap_all(Duration::from_secs(20))?;
        Ok((dump, self.timed(folder, "restore", &[])?))
    }

    fn start(&self, row: &Row, folder: &Path) -> Outcome<i32> {
        fs::create_dir_all(folder.join("images")).map_err(failed)?;
        let child = Command::new(self.layout.tool("launch"))
            .arg("-s")
            .arg(self.programs.join("holder"))
            .args([row.kind, &row.count.to_string()])
            .arg(folder)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(failed)?;
        await_file(&folder.join("ready"), 60)?;
        sleep(Duration::from_millis(20));
        Ok(child.id() as i32)
    }

    /// The call's own time, as its caller sees it.
    fn timed(&self, folder: &Path, action: &str, rest: &[&str]) -> Outcome<f64> {
        let engine =
            Engine { layout: &self.layout, route: Route::Api, patience: Duration::from_secs(120), terminal: false };
        let mut words: Vec<String> = rest.iter().map(|w| w.to_string()).collect();
        // Only the row that has connections needs the last one.
        words.extend(["-v1".to_string(), "--time".into(), "--tcp-established".into()]);
        let answer = engine.call(action, &folder.join("images"), &words)?;
        accepted(action, &answer)?;
        number(&answer.output, "time_us")
    }

    /// A holder that watches the clock while it is dumped and left running.
    fn freeze(&self, row: &Row, folder: &Path) -> Outcome<f64> {
        let pid = self.start(row, folder)?;
        signal(pid, Signal::USR1)?;
        sleep(Duration::from_millis(50));
        self.timed(folder, "dump", &["-t", &pid.to_string(), "--leave-running"])?;
        fs::write(folder.join("stop"), "").map_err(failed)?;
        await_file(&folder.join("gap"), 20)?;
        wait_for(pid, Duration::from_secs(10))?;
        let text = fs::read_to_string(folder.join("gap")).map_err(failed)?;
        text.trim().parse().map_err(|e| failed(format!("gap `{text}`: {e}")))
    }

    fn floor(&self, kind: &str, count: u32, pid: i32, folder: &Path) -> Outcome<String> {
        let out = Command::new(self.programs.join("floor"))
            .args([kind, &count.to_string(), &pid.to_string()])
            .arg(folder)
            .output()
            .map_err(failed)?;
        if !out.status.success() {
            return Err(failed(format!("floor {kind}: {} {}", out.status, String::from_utf8_lossy(&out.stderr))));
        }
        Ok(String::from_utf8_lossy(&out.stdout).into_owned())
    }
}

fn await_file(path: &Path, seconds: u64) -> Outcome {
    let end = Instant::now() + Duration::from_secs(seconds);
    while fs::metadata(path).map_or(true, |m| m.len() == 0) {
        if Instant::now() > end {
            return Err(failed(format!("no {} within {seconds} s", path.display())));
        }
        sleep(Duration::from_millis(2));
    }
    Ok(())
}

fn number(text: &str, key: &str) -> Outcome<f64> {
    let value = text.lines().find_map(|l| l.strip_prefix(key)?.trim().parse().ok());
    value.ok_or_else(|| failed(format!("no {key} in `{text}`")))
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
