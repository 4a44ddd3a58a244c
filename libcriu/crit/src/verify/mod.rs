//! `crit verify DIR`: is this a complete and consistent checkpoint, and what does it need?

mod needs;
mod task;

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs;

use criu_images::json::count;
use criu_images::messages::{FileEntry, InventoryEntry, PstreeEntry};
use criu_images::{ImageDir, Kind};

use crate::args::Args;
use crate::checkpoint::open_dir;
use crate::failure::{Failure, Result};
use crate::input::Input;
use crate::json::{self, bool, int, list, object, text};
use crate::output;

/// What was found out about a checkpoint.
struct Findings {
    dir: ImageDir,
    problems: Vec<String>,
    needs: BTreeSet<String>,
    files: BTreeMap<u32, FileEntry>,
    images: u64,
    tasks: u64,
}

pub(crate) fn run(args: Args) -> Result<u8> {
    let [path] = args.exactly(["DIR"])?;
    let mut f = Findings {
        dir: open_dir(path)?,
        problems: Vec::new(),
        needs: BTreeSet::new(),
        files: BTreeMap::new(),
        images: 0,
        tasks: 0,
    };
    f.every_image(path)?;
    f.inventory();
    f.files();
    f.tree();
    f.report(args.has("json"))
}

impl Findings {
    fn problem(&mut self, problem: impl std::fmt::Display) {
        self.problems.push(problem.to_string());
    }

    /// Unwraps what was read; what could not be is a problem, unless it has been told already.
    fn read<T>(&mut self, read: criu_images::Result<T>) -> Option<T> {
        match read {
            Ok(value) => Some(value),
            Err(e) => {
                let e = e.to_string();
                if !self.problems.contains(&e) {
                    self.problems.push(e);
                }
                None
            }
        }
    }

    /// Each image can be decoded from its first byte to its last.
    fn every_image(&mut self, path: &OsStr) -> Result<()> {
        let failed = |source| Failure::Read { file: path.to_string_lossy().into_owned(), source };
        let mut names: Vec<_> = fs::read_dir(path)
            .map_err(failed)?
            .map(|e| e.map(|e| e.path()))
            .collect::<std::io::Result<_>>()
            .map_err(failed)?;
        names.sort();
        for file in names {
            let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
            // Raw files have no form that could be wrong.
            let raw =
                ["pages-", "tmpfs-", "ifaddr-", "route-", "route6-", "rule-", "iptables-", "ip6tables-", "nftables-"];
            if !name.ends_with(".img") || raw.iter().any(|r| name.starts_with(r)) {
                continue;
            }
            self.images += 1;
            match Input::read(Some(file.as_os_str())) {
                Ok(image) => drop(self.read(count(&name, &image.bytes))),
                Err(e) => self.problem(e),
            }
        }
        Ok(())
    }

    fn inventory(&mut self) {
        let inventory = self.dir.read_one::<InventoryEntry>(Kind::Inventory, 0);
        match inventory {
            Ok(i) if i.img_version == 2 => {}
            Ok(i) => self.problem(format_args!("inventory.img: version {} (1.{})", i.img_version, i.img_version - 1)),
            Err(e) => {
                self.problem(e);
                self.problem("without an inventory, which is written last, this is no complete checkpoint");
            }
        }
    }

    fn files(&mut self) {
        let files = self.dir.read_all::<FileEntry>(Kind::Files, 0);
        for file in self.read(files).unwrap_or_default() {
            if let Some(other) = self.files.insert(file.id, file) {
                self.problem(format_args!("files.img: two files have the id {}", other.id));
            }
        }
        self.needs_of_files();
    }

    fn tree(&mut self) {
        let entries = self.dir.read_all::<PstreeEntry>(Kind::Pstree, 0);
        let entries = self.read(entries).unwrap_or_default();
        if entries.is_empty() {
            self.problem("pstree.img: no process");
        }
        let mut seen = BTreeSet::new();
        for (i, entry) in entries.iter().enumerate() {
            if i > 0 && !seen.contains(&entry.ppid) {
                self.problem(format_args!("pstree.img: pid {} has no parent {} before it", entry.pid, entry.ppid));
            }
            let threads: BTreeSet<_> = entry.threads.iter().copied().chain([entry.pid]).collect();
            for tid in threads {
                if !seen.insert(tid) {
                    self.problem(format_args!("pstree.img: two tasks have the id {tid}"));
                }
            }
            self.tasks += 1;
            self.task(entry);
        }
    }

    fn report(self, as_json: bool) -> Result<u8> {
        let complete = self.problems.is_empty();
        if as_json {
            json::show(&object([
                ("complete", bool(complete)),
                ("problems", list(self.problems.iter().map(text))),
                ("needs", list(self.needs.iter().map(text))),
                ("processes", int(self.tasks)),
                ("images", int(self.images)),
            ]))?;
        } else {
            let mut out = String::new();
            for problem in &self.problems {
                out += &format!("{problem}\n");
            }
            out += &match complete {
                true => format!("complete: {} images, {} processes\n", self.images, self.tasks),
                false => format!("not a complete checkpoint: {} problems\n", self.problems.len()),
            };
            for need in &self.needs {
                out += &format!("needs {need}\n");
            }
            output::print(&out)?;
        }
        Ok(u8::from(!complete))
    }
}
