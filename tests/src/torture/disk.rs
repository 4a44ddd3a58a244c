//! A dump onto a disk that is full, at every image and within every image.

use std::path::Path;
use std::process::Command;

use super::Harm;
use super::attempt::{Ending, Scene, after};
use crate::verdict::{Outcome, failed};

/// What the images directory, a tmpfs, is short of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Short {
    /// Pages of 4 KiB.
    Pages,
    /// Files.
    Files,
}

impl Short {
    pub const ALL: [Short; 2] = [Short::Pages, Short::Files];

    pub fn name(self) -> &'static str {
        match self {
            Short::Pages => "pages",
            Short::Files => "files",
        }
    }
}

/// More than any subject's dump needs.
const ENOUGH: u64 = 4096;

/// Every `stride`-th size from the `first` on, until one is enough.
pub fn run(short: Short, scene: &Scene, stride: u64, first: u64, made: &mut u64) -> Outcome {
    let mut harm = Harm::default();
    let enough = std::cell::Cell::new(false);
    // The directory itself is a file of the file system, and the log comes first.
    for room in (2 + first..ENOUGH).step_by(stride as usize) {
        let outcome = scene.attempt(room, &|_, images, rest| {
            let mounted = Mounted::tmpfs(images, short, room)?;
            let answer = scene.engine().call(scene.action.verb(), images, rest)?;
            let complete = images.join("inventory.img").exists();
            enough.set(answer.ok);
            if !answer.ok && !answer.errors().contains("o space left") {
                return Err(failed(format!("the error does not say what it is: {}", answer.errors())));
            }
            if answer.ok == complete && complete {
                // The images are wanted after the disk.
                mounted.keep(images)?;
            }
            if !answer.ok && complete {
                return Err(failed("the dump failed, and there is an inventory.img"));
            }
            Ok(if answer.ok { Ending::Succeeded } else { Ending::Failed })
        });
        *made += 1;
        harm.add(outcome.map_err(|s| after(&format!("room for {room} {}", short.name()), s)))?;
        if enough.get() {
            return harm.outcome();
        }
    }
    Err(failed(format!("{ENOUGH} {} were not enough", short.name())))
}

struct Mounted<'a>(&'a Path);

impl Mounted<'_> {
    fn tmpfs(at: &Path, short: Short, room: u64) -> Outcome<Mounted<'_>> {
        let options = match short {
            Short::Pages => format!("size={}k", room * 4),
            Short::Files => format!("nr_inodes={room}"),
        };
        let mount = Command::new("mount").args(["-t", "tmpfs", "-o", &options, "torture"]).arg(at).status();
        if !mount.map_err(failed)?.success() {
            return Err(failed(format!("mount -t tmpfs -o {options}")));
        }
        Ok(Mounted(at))
    }

    fn keep(&self, images: &Path) -> Outcome {
        let copy = images.with_extension("kept");
        let copied = Command::new("cp").args(["-a", "-T"]).arg(images).arg(&copy).status().map_err(failed)?;
        self.unmount();
        let moved = Command::new("cp").args(["-a", "-T"]).arg(&copy).arg(images).status().map_err(failed)?;
        std::fs::remove_dir_all(&copy).map_err(failed)?;
        if copied.success() && moved.success() { Ok(()) } else { Err(failed("cp -a of the images")) }
    }

    fn unmount(&self) {
        let _ = Command::new("umount").arg("-l").arg(self.0).stderr(std::process::Stdio::null()).status();
    }
}

impl Drop for Mounted<'_> {
    fn drop(&mut self) {
        self.unmount();
    }
}
