//! Asking for a dump or a restore, over either route, with a limit of time.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::case::Route;
use crate::descendants::{describe, kill_all, wait_for};
use crate::layout::Layout;
use crate::verdict::{Outcome, failed};

/// What came of one call of the engine.
#[derive(Clone, Debug)]
pub struct Answer {
    pub ok: bool,
    /// `exit 1`, `signal 9`
    pub ended: String,
    /// Standard output and error of the program that asked.
    pub output: String,
    /// The engine's log file.
    pub log: String,
    pub took: Duration,
}

impl Answer {
    /// The lines worth showing: what was printed, and the errors of the log.
    pub fn errors(&self) -> String {
        let log: Vec<&str> = self.log.lines().filter(|l| l.contains("Error") || l.contains("panicked")).collect();
        let from = log.len().saturating_sub(12);
        let tail: Vec<&str> = self.log.lines().rev().take(3).collect();
        let rest =
            if log.is_empty() { tail.into_iter().rev().collect::<Vec<_>>().join("\n") } else { log[from..].join("\n") };
        format!("{}: {}\n{rest}", self.ended, self.output.trim())
    }
}

/// The engine under test by one route.
#[derive(Clone, Debug)]
pub struct Engine<'a> {
    pub layout: &'a Layout,
    pub route: Route,
    /// How long one call may take.
    pub patience: Duration,
    /// Its standard input is this process's terminal.
    pub terminal: bool,
}

impl Engine<'_> {
    /// The program to run: it takes the same arguments on both routes.
    pub fn program(&self) -> PathBuf {
        match self.route {
            Route::Api => self.layout.tool("crtool"),
            Route::Command => self.layout.command(),
        }
    }

    /// A command line without its redirections.
    pub fn arguments(&self, action: &str, images: &Path, rest: &[String]) -> Vec<String> {
        let mut line = vec![action.to_string(), "-D".into(), images.display().to_string()];
        line.extend(["-o".into(), format!("{action}.log"), "-v4".into()]);
        line.extend_from_slice(rest);
        line
    }

    pub fn dump(&self, pid: i32, images: &Path, options: &[String]) -> Outcome<Answer> {
        let rest = [vec!["-t".into(), pid.to_string()], options.to_vec()].concat();
        self.call("dump", images, &rest)
    }

    /// The restored tree is left to this process, the subreaper.
    pub fn restore(&self, images: &Path, options: &[String]) -> Outcome<Answer> {
        let rest = [vec!["-d".into()], options.to_vec()].concat();
        self.call("restore", images, &rest)
    }

    /// One call of the engine; `-d` and the like are in `rest`.
    pub fn call(&self, action: &str, images: &Path, rest: &[String]) -> Outcome<Answer> {
        let line = self.arguments(action, images, rest);
        let said = images.with_extension(format!("{action}.out"));
        let out = File::create(&said).map_err(|e| failed(format!("{}: {e}", said.display())))?;
        let err = out.try_clone().map_err(failed)?;
        let start = Instant::now();
        let child = Command::new(self.program())
            .args(&line)
            .env("LD_LIBRARY_PATH", self.layout.lib())
            .stdin(if self.terminal { Stdio::inherit() } else { Stdio::null() })
            .stdout(out)
            .stderr(err)
            .spawn()
            .map_err(|e| failed(format!("{}: {e}", self.program().display())))?;
        let status = wait_for(child.id() as i32, self.patience).map_err(|_| {
            let log = fs::read_to_string(images.join(format!("{action}.log"))).unwrap_or_default();
            let tail: Vec<&str> = log.lines().rev().take(6).collect();
            let tail: Vec<&str> = tail.into_iter().rev().collect();
            kill_all();
            failed(format!("{action} did not end within {:?}; its log ends:\n{}", self.patience, tail.join("\n")))
        })?;
        Ok(Answer {
            ok: status.exit_status() == Some(0),
            ended: describe(status),
            output: fs::read_to_string(&said).unwrap_or_default(),
            log: fs::read(images.join(format!("{action}.log")))
                .map(|b| String::from_utf8_lossy(&b).into_owned())
                .unwrap_or_default(),
            took: start.elapsed(),
        })
    }
}
