//! Where the repository and its build output are, and running programs in it.

use std::path::{Path, PathBuf};
use std::process::Command;

/// The repository and cargo's target directory.
#[derive(Clone, Debug)]
pub struct Workspace {
    pub root: PathBuf,
    pub target: PathBuf,
}

impl Workspace {
    pub fn find() -> Result<Workspace, String> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"))
            .parent()
            .map(Path::to_path_buf)
            .ok_or("xtask stands in no repository")?;
        let target = match std::env::var_os("CARGO_TARGET_DIR") {
            Some(dir) => std::path::absolute(dir).map_err(|e| e.to_string())?,
            None => root.join("target"),
        };
        Ok(Workspace { root, target })
    }

    /// A cargo command in the repository.
    pub fn cargo(&self, args: &[&str]) -> Command {
        let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        cargo.current_dir(&self.root).args(args).env("CARGO_TARGET_DIR", &self.target);
        cargo
    }

    /// A command that is killed, with its process group, when it takes longer than so many seconds (exit code 124).
    pub fn bounded(seconds: u32, program: &str) -> Command {
        let mut command = Command::new("timeout");
        command.args(["--kill-after=10", &seconds.to_string()]).arg(program);
        command
    }

    /// Library, static library and command, as a user gets them.
    pub fn build_release(&self) -> Result<(), String> {
        run(&mut self.cargo(&["build", "--release", "-p", "criu-capi", "-p", "criu-cli", "-p", "criu-soccr-capi"]))
    }
}

/// Runs a command whose failure is an error.
pub fn run(command: &mut Command) -> Result<(), String> {
    let shown = format!("{:?} {:?}", command.get_program(), command.get_args().collect::<Vec<_>>());
    match command.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("{shown}: {status}")),
        Err(e) => Err(format!("{shown}: {e}")),
    }
}
