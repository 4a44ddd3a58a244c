//! System V IPC: calls on objects of this process's IPC namespace.

use std::fs::File;
use std::io::{self, Read, Write};

use rustix::fs::OFlags;

use super::mapping::Mapped;
use super::spawn;
use crate::proc::ProcDir;

const PAGE: u64 = 4096;
/// msgrcv(2): a copy of the message at a position of the queue (Linux 3.8, CONFIG_CHECKPOINT_RESTORE).
const MSG_COPY: i32 = 0o40000;
const SEM_GETALL: i32 = 13;
const SEM_SETALL: i32 = 17;
const SEM_GETPID: i32 = 11;

fn check(ret: i64) -> io::Result<i64> {
    if ret == -1 { Err(io::Error::last_os_error()) } else { Ok(ret) }
}

/// The three kinds of objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    Shm,
    Sem,
    Msg,
}

/// What IPC_SET changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owner {
    pub uid: u32,
    pub gid: u32,
    /// Permission bits.
    pub mode: u32,
}

impl Family {
    fn control(self) -> libc::c_long {
        match self {
            Family::Shm => libc::SYS_shmctl,
            Family::Sem => libc::SYS_semctl,
            Family::Msg => libc::SYS_msgctl,
        }
    }

    /// Are there no objects of this kind in the namespace? False when the kernel does not tell.
    ///
    /// # References
    /// shmctl(2) SHM_INFO, semctl(2) SEM_INFO, msgctl(2) MSG_INFO.
    pub fn is_unused(self) -> bool {
        const SHM_INFO: i32 = 14;
        const SEM_INFO: i32 = 19;
        const MSG_INFO: i32 = 12;
        // More than any of the structures takes.
        let mut info = [u32::MAX; 32];
        let at = info.as_mut_ptr();
        // SAFETY: the kernel writes its `struct shm_info`, `seminfo` or `msginfo` to `info`, which is larger.
        let (ret, place) = unsafe {
            match self {
                Family::Shm => (libc::syscall(self.control(), 0, SHM_INFO, at), 0),
                Family::Sem => (libc::syscall(self.control(), 0, 0, SEM_INFO, at), 7),
                Family::Msg => (libc::syscall(self.control(), 0, MSG_INFO, at), 0),
            }
        };
        ret >= 0 && info[place] == 0
    }

    /// Removes an object; a segment goes when the last has detached it.
    ///
    /// # References
    /// shmctl(2), semctl(2), msgctl(2), IPC_RMID.
    pub fn remove(self, id: u32) -> io::Result<()> {
        // semctl takes the number of a semaphore, too, which does not matter here.
        let (second, third) = if self == Family::Sem { (0, libc::IPC_RMID) } else { (libc::IPC_RMID, 0) };
        // SAFETY: integers only.
        let ret = unsafe { libc::syscall(self.control(), id, second, third, 0) };
        check(ret).map(drop)
    }
}

/// Creates a segment. `mode`: permissions, and SHM_* flags for its pages.
///
/// # Errors
/// EEXIST: there is one with this key.
pub fn shm_create(key: u32, size: u64, mode: u32) -> io::Result<u32> {
    let flags = mode as i32 | libc::IPC_CREAT | libc::IPC_EXCL;
    // SAFETY: integers only.
    check(unsafe { libc::syscall(libc::SYS_shmget, key, size, flags) }).map(|id| id as u32)
}

/// Creates a set of semaphores.
///
/// # Errors
/// EEXIST: there is one with this key.
pub fn sem_create(key: u32, count: u32, mode: u32) -> io::Result<u32> {
    let flags = (mode & 0o777) as i32 | libc::IPC_CREAT | libc::IPC_EXCL;
    // SAFETY: integers only.
    check(unsafe { libc::syscall(libc::SYS_semget, key, count, flags) }).map(|id| id as u32)
}

/// Creates a message queue.
///
/// # Errors
/// EEXIST: there is one with this key.
pub fn msg_create(key: u32, mode: u32) -> io::Result<u32> {
    let flags = (mode & 0o777) as i32 | libc::IPC_CREAT | libc::IPC_EXCL;
    // SAFETY: integers only.
    check(unsafe { libc::syscall(libc::SYS_msgget, key, flags) }).map(|id| id as u32)
}

/// Sets a segment's owner, group and permissions.
///
/// # Errors
/// EPERM; EINVAL, EIDRM: there is no such segment.
pub fn shm_set(id: u32, owner: Owner) -> io::Result<()> {
    // SAFETY: zeroes are a valid structure; the call reads it and nothing else.
    let ret = unsafe {
        let mut ds: libc::shmid_ds = std::mem::zeroed();
        (ds.shm_perm.uid, ds.shm_perm.gid, ds.shm_perm.mode) = (owner.uid, owner.gid, owner.mode as u16);
        libc::syscall(libc::SYS_shmctl, id, libc::IPC_SET, &raw const ds)
    };
    check(ret).map(drop)
}

/// As `shm_set`, for semaphores. The kernel's `struct semid64_ds` begins with the permissions and is 104 bytes long.
///
/// # Errors
/// As `shm_set`.
pub fn sem_set(id: u32, owner: Owner) -> io::Result<()> {
    #[repr(C)]
    struct SemidDs {
        perm: libc::ipc_perm,
        rest: [u64; 8],
    }
    // SAFETY: zeroes are a valid structure, longer than the kernel's; the call reads it and nothing else.
    let ret = unsafe {
        let mut ds: SemidDs = std::mem::zeroed();
        (ds.perm.uid, ds.perm.gid, ds.perm.mode) = (owner.uid, owner.gid, owner.mode as u16);
        libc::syscall(libc::SYS_semctl, id, 0, libc::IPC_SET, &raw const ds)
    };
    check(ret).map(drop)
}

/// As `shm_set`, for a queue, with its capacity in bytes.
///
/// # Errors
/// As `shm_set`.
pub fn msg_set(id: u32, owner: Owner, capacity_bytes: u64) -> io::Result<()> {
    // SAFETY: zeroes are a valid structure; the call reads it and nothing else.
    let ret = unsafe {
        let mut ds: libc::msqid_ds = std::mem::zeroed();
        (ds.msg_perm.uid, ds.msg_perm.gid, ds.msg_perm.mode) = (owner.uid, owner.gid, owner.mode as u16);
        ds.msg_qbytes = capacity_bytes;
        libc::syscall(libc::SYS_msgctl, id, libc::IPC_SET, &raw const ds)
    };
    check(ret).map(drop)
}

/// Locks a segment's pages in memory.
///
/// # References
/// shmctl(2), SHM_LOCK.
pub fn shm_lock(id: u32) -> io::Result<()> {
    const SHM_LOCK: i32 = 11;
    // SAFETY: integers only.
    check(unsafe { libc::syscall(libc::SYS_shmctl, id, SHM_LOCK, 0) }).map(drop)
}

/// Attaches a segment of `size` bytes at a place of the kernel's choice.
///
/// # References
/// shmat(2).
pub fn shm_attach(id: u32, size: u64, writable: bool) -> io::Result<Mapped> {
    let flags = if writable { 0 } else { libc::SHM_RDONLY };
    // SAFETY: a new mapping where nothing is.
    let at = check(unsafe { libc::syscall(libc::SYS_shmat, id, 0, flags) })?;
    Ok(Mapped::inherited(at as u64, size.next_multiple_of(PAGE)))
}

/// Attaches a part of a segment at `place`, which has been mapped (reserved) by the caller and is replaced. `whole` is what all of
/// it takes. Unlike a copy of a mapping (mremap(2)), this can be had of huge pages, too.
///
/// # References
/// shmat(2), mremap(2).
pub fn shm_attach_part(id: u32, whole: u64, writable: bool, offset: u64, place: &Mapped) -> io::Result<()> {
    let all = shm_attach(id, whole, writable)?;
    let moved = place.take(&all, offset);
    // SAFETY: what is left of the new mapping; nobody knows it.
    check(unsafe { libc::munmap(all.start() as *mut libc::c_void, whole as usize) }.into())?;
    moved
}

/// Detaches what `shm_attach` gave.
///
/// # References
/// shmdt(2).
pub fn shm_detach(mapped: Mapped) -> io::Result<()> {
    // SAFETY: the range was attached by `shm_attach`; callers keep no reference into it.
    check(unsafe { libc::syscall(libc::SYS_shmdt, mapped.start()) }).map(drop)
}

/// The file behind a segment that nobody need have attached, for reading. A copy of this process attaches it for a moment, so that
/// its last user is nobody who lives.
///
/// # Errors
/// EACCES; EINVAL, EIDRM: there is no such segment; EPERM without CAP_CHECKPOINT_RESTORE or CAP_SYS_ADMIN, which
/// /proc/PID/map_files asks for.
///
/// # References
/// shmat(2), proc_pid_map_files(5).
pub fn shm_file(id: u32) -> io::Result<File> {
    let (mut answer, mut told) = io::pipe()?;
    let (mut end, lives) = io::pipe()?;
    // SAFETY: the copy takes no lock and allocates nothing; it leaves without returning.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => {
            spawn::block_signals();
            drop(lives);
            let at = match shm_attach(id, 0, false) {
                Ok(mapped) => mapped.start() as i64,
                Err(e) => -i64::from(e.raw_os_error().unwrap_or(libc::EIO)),
            };
            // Then it stays until this process lets it go, or has died.
            let done = told.write_all(&at.to_le_bytes()).and_then(|()| end.read(&mut [0]));
            spawn::exit_now(i32::from(done.is_err()))
        }
        pid => {
            drop((told, end));
            let mut at = [0; 8];
            let file = answer.read_exact(&mut at).and_then(|()| match i64::from_le_bytes(at) {
                at if at < 0 => Err(io::Error::from_raw_os_error(-at as i32)),
                at => mapped_at(pid, at as u64),
            });
            drop(lives);
            spawn::end(pid);
            file
        }
    }
}

/// May this process open files behind mappings, as [`shm_file`] does?
pub fn can_follow_mappings() -> bool {
    let Ok(dir) = ProcDir::open(std::process::id() as i32) else { return true };
    let maps = dir.text("maps").unwrap_or_default();
    // What is no file's has no link.
    let may = |range: &str| match dir.open_at(&format!("map_files/{range}"), OFlags::PATH) {
        Ok(_) => Some(true),
        Err(e) => (e.raw_os_error() == Some(libc::EPERM)).then_some(false),
    };
    maps.lines().find_map(|l| may(l.split(' ').next()?)).unwrap_or(true)
}

/// The file that a process has mapped at `start`.
fn mapped_at(pid: i32, start: u64) -> io::Result<File> {
    let (dir, begin) = (ProcDir::open(pid)?, format!("{start:x}-"));
    let maps = dir.text("maps")?;
    let range = maps.lines().find(|l| l.starts_with(&begin)).and_then(|l| l.split(' ').next());
    Ok(dir.open_at(&format!("map_files/{}", range.ok_or(io::ErrorKind::NotFound)?), OFlags::RDONLY)?.into())
}

/// The values of a set of `count` semaphores.
///
/// # References
/// semctl(2), GETALL.
pub fn sem_values(id: u32, count: u32) -> io::Result<Vec<u16>> {
    let mut values = vec![0_u16; count as usize];
    // SAFETY: the kernel writes as many values as the set has, which cannot change; callers know that from the kernel.
    check(unsafe { libc::syscall(libc::SYS_semctl, id, 0, SEM_GETALL, values.as_mut_ptr()) })?;
    Ok(values)
}

/// Sets the values of a set of `values.len()` semaphores.
///
/// # References
/// semctl(2), SETALL.
pub fn sem_set_values(id: u32, values: &[u16]) -> io::Result<()> {
    // SAFETY: the kernel reads as many values as the set has; callers created or compared it.
    check(unsafe { libc::syscall(libc::SYS_semctl, id, 0, SEM_SETALL, values.as_ptr()) }).map(drop)
}

/// The process that last changed a semaphore; 0 for none.
///
/// # References
/// semctl(2), GETPID.
pub fn sem_pid(id: u32, number: u32) -> io::Result<i32> {
    // SAFETY: integers only.
    check(unsafe { libc::syscall(libc::SYS_semctl, id, number, SEM_GETPID, 0) }).map(|pid| pid as i32)
}

/// The capacity of a queue in bytes.
///
/// # References
/// msgctl(2), IPC_STAT.
pub fn msg_capacity(id: u32) -> io::Result<u64> {
    // SAFETY: zeroes are a valid structure, which the kernel fills.
    unsafe {
        let mut ds: libc::msqid_ds = std::mem::zeroed();
        check(libc::syscall(libc::SYS_msgctl, id, libc::IPC_STAT, &raw mut ds))?;
        Ok(ds.msg_qbytes)
    }
}

/// Type and text of the message at `position`, which stays in the queue; at most `limit` bytes of it.
///
/// # Errors
/// ENOMSG behind the last; ENOSYS from a kernel without MSG_COPY.
pub fn msg_copy(id: u32, position: usize, limit: usize) -> io::Result<(i64, Vec<u8>)> {
    let mut buffer = vec![0_u8; 8 + limit];
    let flags = MSG_COPY | libc::IPC_NOWAIT | libc::MSG_NOERROR;
    // SAFETY: the buffer has room for the type and `limit` bytes.
    let len = check(unsafe { libc::syscall(libc::SYS_msgrcv, id, buffer.as_mut_ptr(), limit, position, flags) })?;
    let text = buffer.split_off(8);
    let kind = i64::from_ne_bytes(buffer.try_into().unwrap_or([0; 8]));
    Ok((kind, text[..(len as usize).min(limit)].to_vec()))
}

/// Appends a message without waiting.
///
/// # Errors
/// EAGAIN: the queue is full.
pub fn msg_send(id: u32, kind: i64, text: &[u8]) -> io::Result<()> {
    let message = [&kind.to_ne_bytes(), text].concat();
    // SAFETY: the buffer holds the type and as many bytes as are announced.
    check(unsafe { libc::syscall(libc::SYS_msgsnd, id, message.as_ptr(), text.len(), libc::IPC_NOWAIT) }).map(drop)
}

/// Takes the first message away; false when there is none.
///
/// # Errors
/// Those of msgrcv(2).
pub fn msg_discard(id: u32) -> io::Result<bool> {
    let mut kind = [0_u8; 8];
    // SAFETY: no text is asked for, the type has its 8 bytes.
    let ret =
        unsafe { libc::syscall(libc::SYS_msgrcv, id, kind.as_mut_ptr(), 0, 0, libc::IPC_NOWAIT | libc::MSG_NOERROR) };
    match check(ret) {
        Ok(_) => Ok(true),
        Err(e) if e.raw_os_error() == Some(libc::ENOMSG) => Ok(false),
        Err(e) => Err(e),
    }
}

/// Runs `create` with another effective user and group, which a new object gets as its creator.
///
/// # Errors
/// Those of `create`; EPERM.
pub fn as_creator<T>(uid: u32, gid: u32, create: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    // SAFETY: no arguments.
    let (own_uid, own_gid) = unsafe { (libc::geteuid(), libc::getegid()) };
    if (uid, gid) == (own_uid, own_gid) {
        return create();
    }
    let keep = u32::MAX;
    // SAFETY: integers only. Raw calls concern this thread alone; it is the only one of a process that restores.
    let become_ = |uid: u32, gid: u32, group_first: bool| unsafe {
        let group = || check(libc::syscall(libc::SYS_setresgid, keep, gid, keep));
        let user = || check(libc::syscall(libc::SYS_setresuid, keep, uid, keep));
        if group_first { group().and_then(|_| user()) } else { user().and_then(|_| group()) }
    };
    let made = become_(uid, gid, true).and_then(|_| create());
    become_(own_uid, own_gid, false)?;
    made
}
