//! What all kinds of objects have: a key, an id, owners, permissions; and how the kernel lists them.

use std::collections::HashSet;
use std::io;

use criu_images::messages::IpcDescEntry;
use rustix::time::ClockId;

use crate::error::{Error, Phase, Result};
use crate::proc::{Status, read_file, stat_of};
use crate::sys::ipc::{Family, Owner, as_creator};

pub(super) const PERMISSIONS: u32 = 0o777;

impl Family {
    /// For messages.
    pub(super) fn name(self) -> &'static str {
        match self {
            Family::Shm => "System V shared memory",
            Family::Sem => "System V semaphores",
            Family::Msg => "System V message queue",
        }
    }

    fn list(self) -> &'static str {
        match self {
            Family::Shm => "/proc/sysvipc/shm",
            Family::Sem => "/proc/sysvipc/sem",
            Family::Msg => "/proc/sysvipc/msg",
        }
    }

    /// The file that tells which id the next object gets (Linux 3.8, CONFIG_CHECKPOINT_RESTORE).
    fn next_id(self) -> &'static str {
        match self {
            Family::Shm => "/proc/sys/kernel/shm_next_id",
            Family::Sem => "/proc/sys/kernel/sem_next_id",
            Family::Msg => "/proc/sys/kernel/msg_next_id",
        }
    }
}

/// `System V semaphores 32769 (key 0x1234)`
pub(super) fn describe(family: Family, desc: &IpcDescEntry) -> String {
    format!("{} {} (key {:#x})", family.name(), desc.id, desc.key)
}

/// One line of a list: the columns by their titles.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Row {
    pub desc: IpcDescEntry,
    columns: Vec<(String, i64)>,
}

impl Row {
    /// A column's value, 0 when the kernel has no such column.
    pub fn get(&self, title: &str) -> i64 {
        self.columns.iter().find(|(t, _)| t == title).map_or(0, |(_, v)| *v)
    }
}

/// All objects of a kind in this process's namespace. A kernel without System V IPC has none.
pub(super) fn list(family: Family) -> io::Result<Vec<Row>> {
    if family.is_unused() {
        return Ok(Vec::new());
    }
    match read_file(family.list()) {
        Ok(text) => parse(&String::from_utf8_lossy(&text))
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, format!("{}: unknown form", family.list()))),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(e) => Err(e),
    }
}

pub(super) fn parse(text: &str) -> Option<Vec<Row>> {
    let mut lines = text.lines();
    let titles: Vec<&str> = lines.next()?.split_ascii_whitespace().collect();
    let row = |line: &str| {
        let values = line.split_ascii_whitespace().zip(&titles);
        let value = |(text, title): (&str, &&str)| {
            let value = if *title == "perms" { i64::from_str_radix(text, 8) } else { text.parse() };
            Some((title.to_string(), value.ok()?))
        };
        let columns = values.map(value).collect::<Option<Vec<_>>>()?;
        let of = |title: &str| columns.iter().find(|(t, _)| t == title).map(|(_, v)| *v as u32);
        let desc = IpcDescEntry {
            key: of("key")?,
            uid: of("uid")?,
            gid: of("gid")?,
            cuid: of("cuid")?,
            cgid: of("cgid")?,
            mode: of("perms")?,
            id: of("shmid").or(of("semid")).or(of("msqid"))?,
        };
        Some(Row { desc, columns })
    };
    lines.map(row).collect()
}

/// Are these pids (0 for nobody) those of tree tasks, and at least one of them somebody?
pub(super) fn are_in(tree: &HashSet<i32>, pids: impl IntoIterator<Item = i32>) -> bool {
    let mut somebody = false;
    pids.into_iter().filter(|p| *p != 0).all(|p| {
        somebody = true;
        tree.contains(&p)
    }) && somebody
}

/// Is who has done something at `time` (in seconds of CLOCK_REALTIME) a process that lives, and one of `these`? Another may have its
/// number by now.
pub(super) fn is_done_by(pid: i32, time: i64, these: impl Fn(i32) -> bool) -> bool {
    /// Clocks are read one after another, and what an object tells is in whole seconds.
    const SLACK_S: i64 = 2;
    if pid == 0 || !these(pid) {
        return false;
    }
    let Ok(stat) = stat_of(pid) else { return false };
    let seconds = |clock| rustix::time::clock_gettime(clock).tv_sec;
    let age = seconds(ClockId::Boottime) - (stat.start_time / rustix::param::clock_ticks_per_second()) as i64;
    time + SLACK_S >= seconds(ClockId::Realtime) - age
}

/// Does a set of permissions let a task with these rights at the object in any way?
pub(super) fn may_use(desc: &IpcDescEntry, status: &Status) -> bool {
    const CAP_IPC_OWNER: u32 = 15;
    const ANY: u32 = 0o7;
    let (uid, gid) = (status.uids[1], status.gids[1]);
    let is_member = |group: u32| gid == group || status.groups.contains(&group);
    let shift = if [desc.uid, desc.cuid].contains(&uid) {
        6
    } else if is_member(desc.gid) || is_member(desc.cgid) {
        3
    } else {
        0
    };
    desc.mode >> shift & ANY != 0 || status.cap_eff >> CAP_IPC_OWNER & 1 != 0
}

pub(super) fn failed(
    family: Family,
    desc: &IpcDescEntry,
    call: &'static str,
) -> impl FnOnce(io::Error) -> Error + use<> {
    let object = describe(family, desc);
    move |e| Error::os(Phase::Memory, object, call, e)
}

pub(super) fn owner(desc: &IpcDescEntry) -> Owner {
    Owner { uid: desc.uid, gid: desc.gid, mode: desc.mode & PERMISSIONS }
}

/// The object of this id that is there, and has to be the one of the image.
///
/// # Errors
/// EEXIST: another object has the id or the key.
pub(super) fn existing(family: Family, desc: &IpcDescEntry) -> Result<Option<Row>> {
    let rows = list(family).map_err(failed(family, desc, "reading /proc/sysvipc"))?;
    let taken = |cause: String| {
        Err(Error::new(Phase::Memory, describe(family, desc), cause)
            .errno(libc::EEXIST)
            .hint("remove it (ipcrm), or restore inside an IPC namespace of its own"))
    };
    let found = rows.iter().find(|r| r.desc.id == desc.id);
    if let Some(other) = found.filter(|r| r.desc.key != desc.key) {
        return taken(format!("the id is taken by an object with the key {:#x}", other.desc.key));
    }
    if let Some(other) = rows.iter().find(|r| desc.key != 0 && r.desc.key == desc.key && r.desc.id != desc.id) {
        return taken(format!("the key is taken by an object with the id {}", other.desc.id));
    }
    Ok(found.cloned())
}

/// Makes an object under its id.
///
/// # Errors
/// EPERM without CAP_CHECKPOINT_RESTORE; EEXIST when the id is not to be had.
pub(super) fn create(family: Family, desc: &IpcDescEntry, make: impl Fn() -> io::Result<u32>) -> Result<()> {
    // Somebody else may make an object between the choice of the id and ours, and get it.
    const TRIES: usize = 5;
    let mut got = 0;
    for _ in 0..TRIES {
        std::fs::write(family.next_id(), desc.id.to_string()).map_err(|e| {
            failed(family, desc, "choosing its id")(e).hint("that takes CAP_CHECKPOINT_RESTORE in the IPC namespace")
        })?;
        got = as_creator(desc.cuid, desc.cgid, &make).map_err(failed(family, desc, "creating it"))?;
        if got == desc.id {
            return Ok(());
        }
        family.remove(got).map_err(failed(family, desc, "removing it"))?;
    }
    let cause = format!("the kernel gave it the id {got}");
    Err(Error::new(Phase::Memory, describe(family, desc), cause).errno(libc::EEXIST))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_read_by_its_titles() {
        let text = "       key      shmid perms       size  cpid  lpid nattch   uid\n\
            -559038737      32769  1600       4096   12    13      2     0\n";
        let text = text.replace("   uid", "   uid   gid  cuid  cgid").replace("     0\n", "     7  8  9  10\n");
        let rows = parse(&text).unwrap();
        assert_eq!(rows.len(), 1);
        let d = rows[0].desc;
        assert_eq!((d.key, d.id, d.mode), (0xdead_beef, 32769, 0o1600));
        assert_eq!((d.uid, d.gid, d.cuid, d.cgid), (7, 8, 9, 10));
        assert_eq!((rows[0].get("nattch"), rows[0].get("lpid"), rows[0].get("none")), (2, 13, 0));
        assert!(parse("key shmid\nx 1\n").is_none());
    }

    #[test]
    fn who_may_use_an_object() {
        let desc = IpcDescEntry { uid: 5, gid: 6, cuid: 7, cgid: 8, mode: 0o640, ..IpcDescEntry::default() };
        let task = |uid, gid, groups: &[u32]| Status {
            uids: [9, uid, 9, 9],
            gids: [9, gid, 9, 9],
            groups: groups.to_vec(),
            ..Status::default()
        };
        assert!(may_use(&desc, &task(5, 1, &[])) && may_use(&desc, &task(7, 1, &[])));
        assert!(may_use(&desc, &task(1, 6, &[])) && may_use(&desc, &task(1, 1, &[2, 8])));
        assert!(!may_use(&desc, &task(1, 1, &[2])));
        assert!(may_use(&desc, &Status { cap_eff: 1 << 15, ..task(1, 1, &[]) }));
        assert!(!may_use(&IpcDescEntry { mode: 0o040, ..desc }, &task(5, 6, &[])), "an owner has its own bits only");
    }

    #[test]
    fn whose_an_object_is() {
        let tree = HashSet::from([5, 6]);
        assert!(are_in(&tree, [5, 0, 6]));
        assert!(!are_in(&tree, [0, 0]), "nobody's");
        assert!(!are_in(&tree, [5, 7]), "somebody else has used it");
    }
}
