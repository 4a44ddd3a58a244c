//! Action scripts: programs executed at every stage of an operation.

use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::error::{Error, Phase, Result};
use crate::progress::Stage;

/// The scripts of an operation and what they are told.
#[derive(Clone, Debug, Default)]
pub struct ActionScripts {
    /// Paths, or command lines for `sh`; run in this order.
    pub scripts: Vec<String>,
    /// `CRTOOLS_IMAGE_DIR`: a path at which the images directory can be reached.
    pub image_dir: PathBuf,
}

impl ActionScripts {
    pub fn is_empty(&self) -> bool {
        self.scripts.is_empty()
    }

    /// Runs every script for `stage` and waits for it.
    ///
    /// # Errors
    /// One could not be started, or did not exit with 0; the later ones are then not run.
    pub fn run(&self, stage: Stage, pid: Option<i32>) -> Result<()> {
        for script in &self.scripts {
            log::info!("action script `{script}`: {}", stage.name());
            let mut command = command_of(script);
            command.env("CRTOOLS_SCRIPT_ACTION", stage.name()).env("CRTOOLS_IMAGE_DIR", &self.image_dir);
            if let Some(pid) = pid {
                command.env("CRTOOLS_INIT_PID", pid.to_string());
            }
            let object = || format!("action script `{script}` at stage {}", stage.name());
            let status =
                command.stdin(Stdio::null()).status().map_err(|e| Error::os(Phase::Service, object(), "execve", e))?;
            if !status.success() {
                let cause = match (status.code(), status.signal()) {
                    (Some(code), _) => format!("it exited with {code}"),
                    (None, Some(signal)) => format!("it was ended by signal {signal}"),
                    (None, None) => "it did not succeed".to_owned(),
                };
                return Err(Error::new(Phase::Service, object(), cause));
            }
        }
        Ok(())
    }
}

/// A file that can be executed is executed; anything else is a command line for the shell.
fn command_of(script: &str) -> Command {
    let is_program = Path::new(script).metadata().is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0);
    if is_program && script.contains('/') {
        return Command::new(script);
    }
    let mut shell = Command::new("/bin/sh");
    shell.arg("-c").arg(script);
    shell
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scripts(lines: &[String]) -> ActionScripts {
        ActionScripts { scripts: lines.to_vec(), image_dir: "/images".into() }
    }

    #[test]
    fn the_environment_is_that_of_the_contract() {
        let out = std::env::temp_dir().join(format!("criu-script-{}", std::process::id()));
        let line =
            format!("echo $CRTOOLS_SCRIPT_ACTION $CRTOOLS_IMAGE_DIR ${{CRTOOLS_INIT_PID-none}} >> {}", out.display());
        let s = scripts(&[line]);
        s.run(Stage::PreDump, None).unwrap();
        s.run(Stage::PostResume, Some(42)).unwrap();
        assert_eq!(std::fs::read_to_string(&out).unwrap(), "pre-dump /images none\npost-resume /images 42\n");
        std::fs::remove_file(out).unwrap();
    }

    #[test]
    fn a_failing_script_fails_the_stage_and_stops_the_others() {
        let out = std::env::temp_dir().join(format!("criu-script-never-{}", std::process::id()));
        let s = scripts(&["exit 3".into(), format!("touch {}", out.display())]);
        let e = s.run(Stage::PostDump, None).unwrap_err();
        assert!(e.to_string().contains("`exit 3` at stage post-dump: it exited with 3"), "{e}");
        assert!(!out.exists());
        let e = scripts(&["kill -9 $$".into()]).run(Stage::PreDump, None).unwrap_err();
        assert!(e.to_string().contains("signal 9"), "{e}");
    }
}
