//! Where things are: sources, the staged installation under test, built subjects, and room for a run.

use std::path::{Path, PathBuf};

/// All paths of one test run.
#[derive(Clone, Debug)]
pub struct Layout {
    /// The repository.
    pub root: PathBuf,
    /// The prefix into which the library and the command under test were installed.
    pub stage: PathBuf,
    /// Built victims, programs and tools.
    pub built: PathBuf,
    /// Short (socket addresses have 108 bytes) and empty at the start.
    pub room: PathBuf,
}

impl Layout {
    pub fn new(root: &Path, target: &Path) -> Self {
        Layout {
            root: root.into(),
            stage: target.join("stage"),
            built: target.join("tests"),
            room: PathBuf::from(format!("/tmp/crt-{}", std::process::id())),
        }
    }

    /// A helper program of the suites, from `tests/tools`.
    pub fn tool(&self, name: &str) -> PathBuf {
        self.built.join("tools").join(name)
    }

    pub fn command(&self) -> PathBuf {
        self.stage.join("sbin/criu")
    }

    pub fn lib(&self) -> PathBuf {
        self.stage.join("lib")
    }

    pub fn include(&self) -> PathBuf {
        self.stage.join("include")
    }
}
