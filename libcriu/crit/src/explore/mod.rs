//! `crit x DIR WHAT`: processes, descriptors, memory, saved pages, sockets of a checkpoint.

mod mems;
mod sk;

use crate::args::Args;
use crate::checkpoint::{Checkpoint, Task};
use crate::failure::{Failure, Result};
use crate::json::{self, Json, int, list, object, text};
use crate::output;

/// A view: what people read, and the same as JSON.
type View = (String, Json);

pub(crate) fn run(args: Args) -> Result<u8> {
    let [dir, what] = args.exactly(["DIR", "ps|fds|mems|rss|sk"])?;
    let view: fn(&Checkpoint) -> Result<View> = match &*what.to_string_lossy() {
        "ps" => ps,
        "fds" | "fd" => fds,
        "mems" | "mem" => mems::mems,
        "rss" => mems::rss,
        "sk" => sk::sk,
        other => return Err(args.usage(&format!("no view {other:?}; there are ps, fds, mems, rss and sk"))),
    };
    let (people, machines) = view(&Checkpoint::open(dir)?)?;
    if args.has("json") {
        json::show(&machines)?
    } else {
        output::print(&people)?
    }
    Ok(0)
}

fn ps(checkpoint: &Checkpoint) -> Result<View> {
    let mut out = format!("{:>8}{:>8}{:>8}   COMM\n", "PID", "PGID", "SID");
    let mut rows = Vec::new();
    for task in &checkpoint.tasks {
        let tree = &task.tree;
        let indent = "  ".repeat(task.depth);
        out += &format!("{:>8}{:>8}{:>8}   {indent}{}\n", tree.pid, tree.pgid, tree.sid, printable(task));
        rows.push(object([
            ("pid", int(tree.pid)),
            ("ppid", int(tree.ppid)),
            ("pgid", int(tree.pgid)),
            ("sid", int(tree.sid)),
            ("comm", text(task.comm())),
            ("state", text(task.state())),
            ("threads", list(tree.threads.iter().map(|&t| int(t)))),
        ]));
    }
    Ok((out, list(rows)))
}

fn printable(task: &Task) -> String {
    let name = task.comm().escape_debug().to_string();
    if task.state() == "alive" { name } else { format!("{name} ({})", task.state()) }
}

fn fds(checkpoint: &Checkpoint) -> Result<View> {
    let (mut out, mut rows) = (String::new(), Vec::new());
    for task in &checkpoint.tasks {
        out += &format!("{}\n", task.pid());
        let mut all = Vec::new();
        for fd in checkpoint.fds(task)? {
            let name = checkpoint.file_name(fd.id);
            out += &format!("{:>9}: {}\n", fd.fd, name.escape_debug());
            all.push(object([
                ("fd", int(fd.fd)),
                ("type", text(fd.r#type().as_str_name())),
                ("path", text(&name)),
                ("cloexec", json::bool(fd.flags & 1 != 0)),
            ]));
        }
        let (mut cwd, mut root) = (String::new(), String::new());
        let image = checkpoint.dir.open(criu_images::Kind::Fs, u64::from(task.pid()))?;
        if let Some(fs) = image.map(|mut i| i.entry::<criu_images::messages::FsEntry>()).transpose()?.flatten() {
            cwd = checkpoint.file_name(fs.cwd_id);
            root = checkpoint.file_name(fs.root_id);
            out += &format!("{:>9}: {}\n{:>9}: {}\n", "cwd", cwd.escape_debug(), "root", root.escape_debug());
        }
        rows.push(object([("pid", int(task.pid())), ("fds", list(all)), ("cwd", text(&cwd)), ("root", text(&root))]));
    }
    Ok((out, list(rows)))
}

/// The failure of an image that contradicts itself.
fn broken(file: &str, what: String) -> Failure {
    Failure::Said(format!("{file}: {what}"))
}
