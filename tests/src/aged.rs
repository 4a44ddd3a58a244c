//! Images as older versions of CRIU wrote them.

use std::fs;
use std::os::fd::OwnedFd;
use std::path::Path;

use criu_images::messages::{
    CoreEntry, EventpollTfdEntry, FanotifyMarkEntry, FileEntry, InetSkEntry, InotifyWdEntry, MmEntry, PstreeEntry,
    TcpStreamEntry,
};
use criu_images::{ImageDir, ImageError, Kind};

use crate::subject::Subject;
use crate::verdict::{Outcome, failed};

/// What a subject's fact `Images` asks for is done to the images of its dump.
pub fn age(subject: &Subject, images: &Path) -> Outcome {
    match subject.images.as_deref() {
        None => Ok(()),
        Some("per-task-filters") => per_task_filters(images),
        Some("criu-socket-fields") => criu_socket_fields(images),
        Some("watched-by-handle") => watched_by_handle(images),
        Some(other) => Err(failed(format!("no images are known as `{other}`"))),
    }
}

/// CRIU passes over the options of internet sockets that it has no fields for.
fn criu_socket_fields(images: &Path) -> Outcome {
    let dir = ImageDir::new(OwnedFd::from(fs::File::open(images).map_err(failed)?));
    let mut files: Vec<FileEntry> = dir.read_all(Kind::Files, 0).map_err(failed)?;
    for isk in files.iter_mut().filter_map(|f| f.isk.as_deref_mut()) {
        isk.more_opts.clear();
    }
    write_all(&dir, Kind::Files, 0, &files).map_err(failed)
}

/// CRIU looks for the path of a watched file only when it has to, or is told to (`--force-irmap`).
fn watched_by_handle(images: &Path) -> Outcome {
    let dir = ImageDir::new(OwnedFd::from(fs::File::open(images).map_err(failed)?));
    let mut files: Vec<FileEntry> = dir.read_all(Kind::Files, 0).map_err(failed)?;
    let mut taken = 0;
    for file in &mut files {
        let watches = file.ify.iter_mut().flat_map(|ify| &mut ify.wd).map(|watch| &mut watch.f_handle);
        let marks = file.ffy.iter_mut().flat_map(|ffy| &mut ffy.mark).filter_map(|mark| mark.ie.as_mut());
        for handle in watches.chain(marks.map(|mark| &mut mark.f_handle)) {
            taken += usize::from(handle.path.take().is_some());
        }
    }
    write_all(&dir, Kind::Files, 0, &files).map_err(failed)?;
    if taken == 0 { Err(failed("nothing is watched by a path")) } else { Ok(()) }
}

/// Before there were seccomp filters per thread, mode and chain stood once for the task.
fn per_task_filters(images: &Path) -> Outcome {
    let dir = ImageDir::new(OwnedFd::from(fs::File::open(images).map_err(failed)?));
    let tree: Vec<PstreeEntry> = dir.read_all(Kind::Pstree, 0).map_err(failed)?;
    let mut moved = 0;
    for task in tree {
        for tid in task.threads {
            let mut core: CoreEntry = dir.read_one(Kind::Core, tid.into()).map_err(failed)?;
            let thread = core.thread_core.get_or_insert_default();
            let (mode, filter) = (thread.seccomp_mode.take(), thread.seccomp_filter.take());
            if tid == task.pid {
                let tc = core.tc.as_mut().ok_or_else(|| failed("a task without a task_core_entry"))?;
                (tc.old_seccomp_mode, tc.old_seccomp_filter) = (mode, filter);
                moved += usize::from(filter.is_some());
            }
            dir.write_one(Kind::Core, tid.into(), &core).map_err(failed)?;
        }
    }
    if moved == 0 { Err(failed("no task has seccomp filters")) } else { Ok(()) }
}

/// Before the core and mm images took them in, the parts of a task had images of their own.
pub fn parts_apart(images: &Path) -> Outcome {
    let dir = ImageDir::new(OwnedFd::from(fs::File::open(images).map_err(failed)?));
    let tree: Vec<PstreeEntry> = dir.read_all(Kind::Pstree, 0).map_err(failed)?;
    tree.iter().try_for_each(|task| parts_of(&dir, task)).and_then(|()| files_of(&dir)).map_err(failed)
}

/// Files by their kinds, and what they watch apart from them.
fn files_of(dir: &ImageDir) -> Result<(), ImageError> {
    let mut files: Vec<FileEntry> = dir.read_all(Kind::Files, 0)?;
    files.iter_mut().filter_map(|f| f.isk.as_deref_mut()).try_for_each(|isk| tcp_options_of(dir, isk))?;
    let (mut targets, mut watches, mut marks) = (Vec::new(), Vec::new(), Vec::new());
    for file in &mut files {
        let id = file.id;
        let of = file.epfd.iter_mut().flat_map(|e| std::mem::take(&mut e.tfd));
        targets.extend(of.map(|target| EventpollTfdEntry { id, ..target }));
        let of = file.ify.iter_mut().flat_map(|e| std::mem::take(&mut e.wd));
        watches.extend(of.map(|watch| InotifyWdEntry { id, ..watch }));
        let of = file.ffy.iter_mut().flat_map(|e| std::mem::take(&mut e.mark));
        marks.extend(of.map(|mark| FanotifyMarkEntry { id, ..mark }));
    }
    write_all(dir, Kind::EventpollTfd, 0, &targets)?;
    write_all(dir, Kind::InotifyWd, 0, &watches)?;
    write_all(dir, Kind::FanotifyMark, 0, &marks)?;
    // These two kinds are younger than files.img.
    if files.iter().any(|f| f.memfd.is_some() || f.pidfd.is_some()) {
        return write_all(dir, Kind::Files, 0, &files);
    }
    macro_rules! apart {
        ($($kind:ident $field:ident,)*) => {$(
            let of_kind: Vec<_> = files.iter_mut().filter_map(|f| f.$field.take()).map(|f| *f).collect();
            write_all(dir, Kind::$kind, 0, &of_kind)?;
        )*};
    }
    apart! {
        RegFiles reg,
        Pipes pipe,
        Fifo fifo,
        Unixsk usk,
        Inetsk isk,
        EventfdFile efd,
        EventpollFile epfd,
        Signalfd sgfd,
        Timerfd tfd,
        InotifyFile ify,
        FanotifyFile ffy,
        TtyFiles tty,
    }
    dir.remove(&Kind::Files.file_name(0))
}

fn parts_of(dir: &ImageDir, task: &PstreeEntry) -> Result<(), ImageError> {
    let pid = u64::from(task.pid);
    for tid in task.threads.iter().map(|&tid| u64::from(tid)) {
        if dir.open(Kind::Core, tid)?.is_none() {
            // CRIU lists no thread that is there of a zombie.
            continue;
        }
        let mut core: CoreEntry = dir.read_one(Kind::Core, tid)?;
        if let Some(thread) = &mut core.thread_core {
            if let Some(pending) = thread.signals_p.take() {
                dir.write_one(Kind::Psignal, tid, &pending)?;
            }
            if let Some(creds) = thread.creds.take().filter(|_| tid == pid) {
                dir.write_one(Kind::Creds, pid, &creds)?;
            }
        }
        if let Some(tc) = core.tc.as_mut().filter(|_| core.thread_core.is_some()) {
            write_all(dir, Kind::Sigact, pid, &std::mem::take(&mut tc.sigactions))?;
            write_all(dir, Kind::Rlimit, pid, &tc.rlimits.take().unwrap_or_default().rlimits)?;
            if let Some(timers) = tc.timers.take() {
                write_all(dir, Kind::Itimers, pid, &[timers.real, timers.virt, timers.prof])?;
                write_all(dir, Kind::PosixTimers, pid, &timers.posix)?;
            }
            if let Some(pending) = tc.signals_s.take() {
                dir.write_one(Kind::Signal, pid, &pending)?;
            }
            let mut mm: MmEntry = dir.read_one(Kind::Mm, pid)?;
            write_all(dir, Kind::Vmas, pid, &std::mem::take(&mut mm.vmas))?;
            dir.write_one(Kind::Mm, pid, &mm)?;
        }
        dir.write_one(Kind::Core, tid, &core)?;
    }
    Ok(())
}

/// Some stood among the options of every socket, some with the connection.
fn tcp_options_of(dir: &ImageDir, isk: &mut InetSkEntry) -> Result<(), ImageError> {
    let Some(tcp) = isk.tcp_opts.take() else { return Ok(()) };
    let opts = &mut isk.opts;
    (opts.tcp_keepcnt, opts.tcp_keepidle, opts.tcp_keepintvl) = (tcp.keepcnt, tcp.keepidle, tcp.keepintvl);
    let Some(mut image) = dir.open(Kind::TcpStream, isk.ino.into())? else { return Ok(()) };
    let Some(mut stream) = image.entry::<TcpStreamEntry>()? else { return Ok(()) };
    let (received, sent) = image.tcp_queues(&stream)?;
    (stream.cork, stream.nodelay) = (tcp.cork, tcp.nodelay);
    let mut image = dir.create(Kind::TcpStream, isk.ino.into())?;
    image.entry(&stream)?;
    image.raw(&received)?;
    image.raw(&sent)?;
    image.finish()
}

fn write_all<M: prost::Message>(dir: &ImageDir, kind: Kind, id: u64, entries: &[M]) -> Result<(), ImageError> {
    let mut image = dir.create(kind, id)?;
    entries.iter().try_for_each(|entry| image.entry(entry))?;
    image.finish()
}
