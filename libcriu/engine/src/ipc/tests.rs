//! Objects made anew under their ids, and those that are in the way.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::fs::File;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard};

use criu_images::ImageDir;
use criu_images::messages::{IpcDescEntry, IpcMsg, IpcMsgEntry, IpcSemEntry, IpcShmEntry};

use super::object::list;
use super::restore::RestoreIpc;
use super::{msg, sem, shm};
use crate::mem::pages::PagesIds;
use crate::sys::ipc::{Family, msg_copy, sem_values, shm_attach, shm_create, shm_detach};
use crate::sys::trial;

const SPACE: u64 = 3;

struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> (Folder, ImageDir) {
        let path = std::env::temp_dir().join(format!("criu-ipc-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        let dir = ImageDir::new(File::open(&path).unwrap().into());
        (Folder(path), dir)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// An id of a far corner of the namespace, that nobody gets by himself.
fn desc(slot: u32) -> IpcDescEntry {
    let id = 0x7abc_0000 + (slot + 17 * (std::process::id() % 900));
    IpcDescEntry {
        key: 0x5ca1_0000 | std::process::id() << 4 | slot,
        uid: 7,
        gid: 8,
        cuid: 9,
        cgid: 10,
        mode: 0o640,
        id,
    }
}

/// The next id is one number for the namespace.
fn alone() -> Option<MutexGuard<'static, ()>> {
    static ONE: Mutex<()> = Mutex::new(());
    let guard = ONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if std::fs::write("/proc/sys/kernel/shm_next_id", "-1").is_ok() {
        return Some(guard);
    }
    eprintln!("skipped: ids of System V objects cannot be chosen here");
    None
}

fn row(family: Family, id: u32) -> Option<super::object::Row> {
    list(family).unwrap().into_iter().find(|r| r.desc.id == id)
}

/// An image of a segment; without `bytes` its contents, if there are any, are in a pagemap.
fn list_segment(images: &ImageDir, entry: IpcShmEntry, bytes: Option<&[u8]>) {
    let mut out = images.create(criu_images::Kind::IpcnsShm, SPACE).unwrap();
    out.segment(&entry, bytes).unwrap();
    out.finish().unwrap();
}

#[test]
fn a_segment_is_made_under_its_id_and_goes_when_the_restore_fails() {
    let Some(_alone) = alone() else { return };
    let (_folder, images) = Folder::new("shm");
    let entry = IpcShmEntry { desc: desc(1), size: 5000, in_pagemaps: Some(true), hugetlb_flag: None };
    let id = entry.desc.id;
    list_segment(&images, entry, None);
    let wanted = BTreeSet::from([((id, true), 8192)]);
    let tree = HashSet::from([1]);
    let mut ipc = RestoreIpc::provide(&images, SPACE, &wanted, &tree).unwrap();
    let found = row(Family::Shm, id).unwrap();
    assert_eq!(found.desc, entry.desc);
    assert_eq!((found.get("nattch"), found.get("size")), (1, 5000));
    // A second restore finds it in use.
    let e = RestoreIpc::provide(&images, SPACE, &wanted, &tree).unwrap_err();
    assert!(e.cause.contains("attached 1 times") && e.errno == libc::EEXIST, "{e}");
    ipc.detach().unwrap();
    assert_eq!(row(Family::Shm, id).unwrap().get("nattch"), 0);
    drop(ipc);
    assert_eq!(row(Family::Shm, id), None);
    // A mapping of more than there is, and of what is not there.
    let far = BTreeSet::from([((id, true), 12288)]);
    assert!(RestoreIpc::provide(&images, SPACE, &far, &tree).unwrap_err().cause.contains("reaches"));
    let none = BTreeSet::from([((id + 1, false), 4096)]);
    assert!(RestoreIpc::provide(&images, SPACE, &none, &tree).unwrap_err().cause.contains("not in the image"));
    assert_eq!(row(Family::Shm, id), None);
}

#[test]
fn a_key_that_is_taken_is_named() {
    let Some(_alone) = alone() else { return };
    let (_folder, images) = Folder::new("key");
    let entry = IpcShmEntry { desc: desc(2), size: 4096, in_pagemaps: Some(true), hugetlb_flag: None };
    list_segment(&images, entry, None);
    let other = shm_create(entry.desc.key, 100, 0o600).unwrap();
    let result = RestoreIpc::provide(&images, SPACE, &BTreeSet::new(), &HashSet::new());
    Family::Shm.remove(other).unwrap();
    let e = result.unwrap_err();
    assert!(e.cause.contains(&format!("key is taken by an object with the id {other}")), "{e}");
}

#[test]
fn what_was_left_of_a_segment_is_overwritten() {
    let Some(_alone) = alone() else { return };
    let (_folder, images) = Folder::new("left");
    let entry = IpcShmEntry { desc: desc(3), size: 3, in_pagemaps: None, hugetlb_flag: None };
    list_segment(&images, entry, Some(b"abc"));
    let tree = HashSet::new();
    let wanted = BTreeSet::from([((entry.desc.id, true), 4096)]);
    let mut first = RestoreIpc::provide(&images, SPACE, &wanted, &tree).unwrap();
    first.detach().unwrap();
    let mapped = shm_attach(entry.desc.id, 3, true).unwrap();
    assert_eq!(mapped.bytes(6), b"abc\0\0\0");
    mapped.fill(b"xyzuvw").unwrap();
    shm_detach(mapped).unwrap();
    let mut second = RestoreIpc::provide(&images, SPACE, &wanted, &tree).unwrap();
    second.detach().unwrap();
    let mapped = shm_attach(entry.desc.id, 3, false).unwrap();
    assert_eq!(mapped.bytes(6), b"abc\0\0\0");
    shm_detach(mapped).unwrap();
    // It had been there before: a failure of the second does not take it away.
    drop(second);
    assert!(row(Family::Shm, entry.desc.id).is_some());
    drop(first);
    assert_eq!(row(Family::Shm, entry.desc.id), None);
}

#[test]
fn a_segment_that_nobody_has_attached() {
    let Some(_alone) = alone() else { return };
    let (_folder, images) = Folder::new("detached");
    let key = desc(6).key;
    let id = shm_create(key, 5000, 0o600).unwrap();
    let mapped = shm_attach(id, 5000, true).unwrap();
    // The last page, too, and what lies behind the end in it.
    mapped.fill(&[7; 8000]).unwrap();
    shm_detach(mapped).unwrap();
    let me = HashSet::from([std::process::id() as i32]);
    let (mut pages, mut blockers) = (PagesIds::default(), Vec::new());
    let mut save = |tree: &HashSet<i32>| {
        let found = shm::dump::resolve(&HashMap::new(), tree, &mut blockers).unwrap();
        shm::dump::save(&images, SPACE, &found, &mut pages, &mut || Ok(())).unwrap()
    };
    assert!(crate::sys::ipc::can_follow_mappings());
    // It is its maker's, and a process that has used it for the last time and lives is no hindrance when it is the same.
    assert_eq!((save(&HashSet::from([1])), save(&me)), (0, 2));
    // The dump's own look at it does not make it somebody else's.
    assert_ne!(row(Family::Shm, id).unwrap().get("lpid") as u32, std::process::id());
    assert!(
        shm::dump::resolve(&HashMap::new(), &me, &mut Vec::new()).unwrap().detached.iter().any(|d| d.desc.id == id)
    );
    Family::Shm.remove(id).unwrap();
    // A failed restore takes away what the tree has made; one that has succeeded does not.
    for succeeds in [false, true] {
        let mut ipc = RestoreIpc::provide(&images, SPACE, &BTreeSet::new(), &me).unwrap();
        assert_eq!(row(Family::Shm, id), None);
        ipc.settle().unwrap();
        let made = row(Family::Shm, id).unwrap();
        assert_eq!((made.desc.key, made.get("cpid") as u32, made.get("nattch")), (key, std::process::id(), 0));
        let mapped = shm_attach(id, 5000, true).unwrap();
        assert_eq!(mapped.bytes(8192), [[7; 8000].as_slice(), &[0; 192]].concat());
        mapped.fill(b"other").unwrap();
        shm_detach(mapped).unwrap();
        if succeeds {
            ipc.keep();
        }
        drop(ipc);
        assert_eq!(row(Family::Shm, id).is_some(), succeeds);
    }
    // What is left is filled anew, and stays when that restore fails.
    let ipc = RestoreIpc::provide(&images, SPACE, &BTreeSet::new(), &me).unwrap();
    ipc.settle().unwrap();
    drop(ipc);
    let mapped = shm_attach(id, 5000, false).unwrap();
    assert_eq!(mapped.bytes(5), [7; 5]);
    shm_detach(mapped).unwrap();
    // This process, the last who used it, is none of the tree: neither a dump nor a restore touches it.
    let ended = HashSet::from([1]);
    let e = RestoreIpc::provide(&images, SPACE, &BTreeSet::new(), &ended).unwrap_err();
    assert!(e.cause.contains(&format!("process {} has used it", std::process::id())), "{e}");
    Family::Shm.remove(id).unwrap();
}

#[test]
fn where_the_kernel_removes_what_nobody_has_attached() {
    let Some(_alone) = alone() else { return };
    let (_folder, images) = Folder::new("forced");
    let entry = IpcShmEntry { desc: desc(7), size: 4096, in_pagemaps: None, hugetlb_flag: None };
    list_segment(&images, entry, Some(&[7; 4096]));
    let child = trial::fork(|| {
        let me = HashSet::from([std::process::id() as i32]);
        // SAFETY: this process has one thread.
        let own = unsafe { libc::unshare(libc::CLONE_NEWIPC) };
        if own != 0 || std::fs::write("/proc/sys/kernel/shm_rmid_forced", "1").is_err() {
            return;
        }
        // One that a task has attached is filled and stays.
        let wanted = BTreeSet::from([((entry.desc.id, true), 4096)]);
        let ipc = RestoreIpc::provide(&images, SPACE, &wanted, &me).unwrap();
        assert_eq!(row(Family::Shm, entry.desc.id).unwrap().desc, entry.desc);
        assert_eq!(ipc.mapped((entry.desc.id, true)).unwrap().bytes(4096), [7; 4096]);
        drop(ipc);
        assert_eq!(row(Family::Shm, entry.desc.id), None);
        // One that nobody has attached would go at once.
        let e = RestoreIpc::provide(&images, SPACE, &BTreeSet::new(), &me).unwrap_err();
        assert!(e.cause.contains("shm_rmid_forced"), "{e}");
        let id = shm_create(1, 4096, 0o600).unwrap();
        let mut blockers = Vec::new();
        shm::dump::resolve(&HashMap::new(), &me, &mut blockers).unwrap();
        assert!(
            blockers.iter().any(|b| b.cause.contains("shm_rmid_forced") && b.object.contains("key 0x1")),
            "{blockers:?}"
        );
        assert!(row(Family::Shm, id).is_some());
    });
    child.finish().unwrap();
}

#[test]
fn semaphores_and_messages() {
    let Some(_alone) = alone() else { return };
    let (_folder, images) = Folder::new("sem");
    let (sems, queue) = (desc(4), desc(5));
    let set = (IpcSemEntry { desc: sems, nsems: 3 }, vec![4, 0, 9]);
    sem::dump::save(&images, SPACE, &[set]).unwrap();
    let message = |mtype, text: &[u8]| (IpcMsg { mtype, msize: text.len() as u32 }, text.to_vec());
    let messages = vec![message(7, b"one"), message(3, b""), message(7, b"three")];
    msg::dump::save(&images, SPACE, &[(IpcMsgEntry { desc: queue, qbytes: 4096, qnum: 3 }, messages)]).unwrap();
    let me = HashSet::from([std::process::id() as i32]);
    let ipc = RestoreIpc::provide(&images, SPACE, &BTreeSet::new(), &me).unwrap();
    // Twice: what is there is replaced.
    ipc.settle().unwrap();
    ipc.settle().unwrap();
    assert_eq!(sem_values(sems.id, 3).unwrap(), [4, 0, 9]);
    assert_eq!(row(Family::Sem, sems.id).unwrap().desc, sems);
    assert_eq!(row(Family::Msg, queue.id).unwrap().desc, queue);
    assert_eq!(msg_copy(queue.id, 2, 100).unwrap(), (7, b"three".to_vec()));
    assert_eq!(msg_copy(queue.id, 1, 100).unwrap(), (3, Vec::new()));
    // This process has used them, so they are its own.
    assert!(
        sem::dump::resolve(&me, &HashMap::new(), &mut Vec::new())
            .unwrap()
            .iter()
            .any(|(e, v)| e.desc == sems && v == &[4, 0, 9])
    );
    let queues = msg::dump::resolve(&me).unwrap();
    let saved = queues.iter().find(|(e, _)| e.desc == queue).unwrap();
    assert_eq!((saved.0.qbytes, saved.1.len()), (4096, 3));
    // Somebody else's are left alone.
    let others = HashSet::from([1]);
    assert!(sem::dump::resolve(&others, &HashMap::new(), &mut Vec::new()).unwrap().iter().all(|(e, _)| e.desc != sems));
    let e = RestoreIpc::provide(&images, SPACE, &BTreeSet::new(), &others).unwrap_err();
    assert!(e.cause.contains("others have used"), "{e}");
    drop(ipc);
    assert_eq!((row(Family::Sem, sems.id), row(Family::Msg, queue.id)), (None, None));
}
