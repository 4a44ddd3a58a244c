//! A large table of descriptors, read in the kernel's memory: what fdinfo tells of each, without a file of /proc to open for it.
//!
//! Descriptors of which fdinfo tells more than the usual lines, and those with locks, are left to fdinfo. Where the engine may
//! not look, or the kernel lays out its structures in another way, all are.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use rustix::process::{PidfdGetfdFlags, pidfd_getfd};

use super::fdinfo::FdInfo;
use crate::numbers::ByNumber;
use crate::sys::kernel::{Address, Kernel, Member};

/// Smaller tables are not worth the opening of the kernel's memory.
pub(super) const WORTH_IT: i64 = 128;
/// sysctl fs.nr_open is not larger on any machine seen.
const MOST: u64 = 1 << 20;
const O_CLOEXEC: u32 = libc::O_CLOEXEC as u32;

/// One descriptor.
#[derive(Debug)]
pub(super) struct Listed {
    pub fd: i32,
    /// The `struct file`, if it is known.
    pub file: Option<Address>,
    /// `None`: fdinfo has to be asked.
    pub info: Option<FdInfo>,
    /// Nobody is signalled about it (F_SETOWN), and there is no signal for that either (F_SETSIG).
    pub has_no_owner: bool,
    /// Of a socket: its inode number and `struct sock`.
    pub socket: Option<(u64, Address)>,
    /// Of a regular file that has a name.
    pub plain: Option<Plain>,
}

/// A regular file, as its dentry and inode tell of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Plain {
    /// Mount and directory.
    pub directory: (Address, Address),
    pub name: Vec<u8>,
    pub ino: u64,
    /// Major and minor number.
    pub dev: (u32, u32),
}

/// All descriptors of a task, by number.
///
/// # Errors
/// EAGAIN: what was found is not the task's table; those of reading.
pub(super) fn read(kernel: &Kernel, pidfd: BorrowedFd<'_>) -> io::Result<Vec<Listed>> {
    let open = open_files(kernel, pidfd)?;
    let closes = |fd: i32| open.cloexec.get(fd as usize / 8).is_some_and(|byte| byte >> (fd % 8) & 1 != 0);
    describe(kernel, &open.files, closes)
}

/// The descriptors of a task.
#[derive(Debug)]
pub(super) struct OpenFiles {
    /// Their numbers, with the `struct file` behind each.
    pub files: Vec<(i32, Address)>,
    /// Those that are close-on-exec, as bits.
    cloexec: Vec<u8>,
}

/// Which descriptors a task has.
///
/// # Errors
/// As above.
pub(super) fn open_files(k: &Kernel, pidfd: BorrowedFd<'_>) -> io::Result<OpenFiles> {
    let table = k.number(k.number(k.task_of(pidfd)?, "task_struct", "files")?, "files_struct", "fdt")?;
    let most = k.number(table, "fdtable", "max_fds")?.min(MOST) as usize;
    let mut pointers = vec![0; 8 * most];
    k.read(k.number(table, "fdtable", "fd")?, &mut pointers)?;
    let mut cloexec = vec![0; most.div_ceil(8)];
    k.read(k.number(table, "fdtable", "close_on_exec")?, &mut cloexec)?;
    let all = pointers.chunks_exact(8).map(|p| Member { offset: 0, bytes: 8, bit: 0 }.of(p)).enumerate();
    let open: Vec<(i32, Address)> = all.filter(|e| e.1 != 0).map(|(fd, at)| (fd as i32, at)).collect();
    check(k, pidfd, &open)?;
    Ok(OpenFiles { files: open, cloexec })
}

/// Is it the task's table? A descriptor of it, fetched by the usual way, is the same file.
fn check(k: &Kernel, pidfd: BorrowedFd<'_>, open: &[(i32, Address)]) -> io::Result<()> {
    let changed = || io::Error::from_raw_os_error(libc::EAGAIN);
    for &(fd, at) in [open.first(), open.last()].into_iter().flatten() {
        let dup = pidfd_getfd(pidfd, fd, PidfdGetfdFlags::empty())?;
        if k.file(dup.as_fd())? != at {
            return Err(changed());
        }
    }
    Ok(())
}

/// Has the inode of a file no record of locks and leases? It gets one with the first, and keeps it.
pub(super) fn is_never_locked(k: &Kernel, file: Address) -> io::Result<bool> {
    let inode = k.number(file, "file", "f_inode")?;
    Ok(k.number(inode, "inode", "i_flctx")? == 0)
}

fn describe(k: &Kernel, open: &[(i32, Address)], closes: impl Fn(i32) -> bool) -> io::Result<Vec<Listed>> {
    const OF_FILE: [&str; 8] =
        ["f_inode", "f_op", "private_data", "f_flags", "f_pos", "f_owner", "f_path.mnt", "f_path.dentry"];
    let places: Vec<Address> = open.iter().map(|e| e.1).collect();
    let Many(files) = Many::read(k, "file", &places, OF_FILE)?;
    let places: Vec<Address> = files.iter().map(|f| f[0]).collect();
    let Many(inodes) = Many::read(k, "inode", &places, ["i_mode", "i_ino", "i_flctx", "i_sb"])?;
    let mounts = Lookup::read(k, files.iter().map(|f| f[6]), "mount", "mnt", "mnt_id")?;
    let showing = Lookup::read(k, files.iter().map(|f| f[1]), "file_operations", "", "show_fdinfo")?;
    let is_of = |kind: u32, mode: u64| mode as u32 & libc::S_IFMT == kind;
    // A socket is a part of what has its inode as well. The kernel's description of that is one of the last.
    let in_socket = match inodes.iter().any(|inode| is_of(libc::S_IFSOCK, inode[0])) {
        true => k.layouts.member("socket_alloc", "vfs_inode")?.offset as u64,
        false => 0,
    };
    // Before Linux 6.12 the owner was a part of the file.
    let tells_owner = k.layouts.member("file", "f_owner")?.bytes == 8;
    let mut listed = Vec::with_capacity(open.len());
    let known = open.iter().zip(&files).zip(&inodes);
    for ((&(fd, file), &[inode, operations, private, flags, pos, owner, mount, _]), &[mode, ino, locks, _]) in known {
        let is_socket = private.wrapping_add(in_socket) == inode && is_of(libc::S_IFSOCK, mode);
        let tells_more = !is_socket && showing.of(operations) != 0;
        let info = FdInfo {
            pos,
            flags: flags as u32 & !O_CLOEXEC,
            cloexec: closes(fd),
            mnt_id: mounts.of(mount) as i32,
            ino,
            text: String::new(),
        };
        listed.push(Listed {
            fd,
            file: Some(file),
            info: Some(info).filter(|_| !tells_more && locks == 0),
            has_no_owner: tells_owner && owner == 0,
            socket: is_socket.then_some((ino, private)),
            plain: None,
        });
    }
    socks(k, &mut listed)?;
    let plain: Vec<_> = (0..listed.len()).filter(|&at| is_of(libc::S_IFREG, inodes[at][0])).collect();
    let places = plain.iter().map(|&at| (files[at][6], files[at][7], inodes[at][1], inodes[at][3])).collect::<Vec<_>>();
    match names(k, &places) {
        Ok(names) => plain.into_iter().zip(names).for_each(|(at, name)| listed[at].plain = name),
        Err(e) => log::debug!("names of files cannot be read in the kernel's memory: {e}"),
    }
    Ok(listed)
}

/// Of files by mount, dentry, inode number and file system; `None` for those without a name, or with a long one.
fn names(k: &Kernel, files: &[(Address, Address, u64, Address)]) -> io::Result<Vec<Option<Plain>>> {
    let member = |path| k.layouts.member("dentry", path);
    let [parent, name, bytes, hashed] =
        [member("d_parent")?, member("d_name.name")?, member("d_name.len")?, member("d_hash.pprev")?];
    // Linux 6.14 gave it another name.
    let short = member("d_shortname").or_else(|_| member("d_iname"))?;
    let devices = Lookup::read(k, files.iter().map(|f| f.3), "super_block", "", "s_dev")?;
    let dentries: Vec<Address> = files.iter().map(|f| f.1).collect();
    let mut found = Vec::with_capacity(files.len());
    k.read_each(&dentries, k.layouts.bytes("dentry")?, |at, dentry| {
        let (mount, address, ino, system) = files[at];
        let device = devices.of(system) as u32;
        let is_short = name.of(dentry) == address.wrapping_add(short.offset as u64) && hashed.of(dentry) != 0;
        let len = (bytes.of(dentry) as usize).min(short.bytes);
        let text = dentry.get(short.offset..short.offset + len).filter(|_| is_short);
        found.push(text.filter(|text| !text.is_empty() && !text.contains(&b'/')).map(|text| Plain {
            directory: (mount, parent.of(dentry)),
            name: text.to_vec(),
            ino,
            dev: (device >> 20, device & 0xf_ffff),
        }));
    })?;
    Ok(found)
}

/// From each `struct socket` to its `struct sock`.
fn socks(k: &Kernel, listed: &mut [Listed]) -> io::Result<()> {
    let sockets: Vec<Address> = listed.iter().filter_map(|l| l.socket).map(|s| s.1).collect();
    let Many(found) = Many::read(k, "socket", &sockets, ["sk"])?;
    for (socket, [sk]) in listed.iter_mut().filter_map(|l| l.socket.as_mut()).zip(found) {
        socket.1 = sk;
    }
    Ok(())
}

/// Numbers of structures of one type, read at once.
struct Many<const N: usize>(Vec<[u64; N]>);

impl<const N: usize> Many<N> {
    fn read(k: &Kernel, structure: &str, places: &[Address], members: [&str; N]) -> io::Result<Self> {
        let each = k.layouts.bytes(structure)?;
        let mut wanted = [Member { offset: 0, bytes: 0, bit: 0 }; N];
        for (member, path) in wanted.iter_mut().zip(members) {
            *member = k.layouts.member(structure, path)?;
        }
        let mut found = Vec::with_capacity(places.len());
        k.read_each(places, each, |_, one| found.push(wanted.map(|member| member.of(one))))?;
        Ok(Many(found))
    }
}

/// A number of each of a few structures that many refer to.
struct Lookup(ByNumber<Address, u64>);

impl Lookup {
    /// `part`: the member whose address is given, or nothing for the structure's own.
    fn read(
        k: &Kernel,
        places: impl Iterator<Item = Address>,
        structure: &str,
        part: &str,
        member: &str,
    ) -> io::Result<Self> {
        let mut found = ByNumber::default();
        let part = if part.is_empty() { 0 } else { k.layouts.member(structure, part)?.offset as u64 };
        for place in places {
            if let std::collections::hash_map::Entry::Vacant(new) = found.entry(place) {
                new.insert(k.number(place.wrapping_sub(part), structure, member)?);
            }
        }
        Ok(Lookup(found))
    }

    fn of(&self, place: Address) -> u64 {
        self.0.get(&place).copied().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::fd::{AsRawFd, RawFd};

    use rustix::process::{Pid, PidfdFlags, getpid, pidfd_open};

    use super::*;
    use crate::sys::descriptor::close_all_but;
    use crate::sys::trial;

    /// A child that has the given descriptors of this process alone, and leaves them as they are.
    fn still(mut kept: Vec<RawFd>) -> trial::Child {
        let (mut told, tells) = std::io::pipe().unwrap();
        let child = trial::fork(|| {
            close_all_but(&mut kept);
            loop {
                // SAFETY: no arguments.
                unsafe { libc::pause() };
            }
        });
        drop(tells);
        // The end: it has closed what it does not keep.
        assert_eq!(told.read(&mut [0]).unwrap(), 0);
        child
    }

    #[test]
    fn a_table_as_fdinfo_tells_it() {
        let kernel = match Kernel::open() {
            // Without the right, or a kernel that does not describe itself.
            Err(e) if matches!(e.raw_os_error(), Some(libc::EPERM | libc::ENOENT | libc::EINVAL)) => return,
            other => other.unwrap(),
        };
        let file = tempfile::tempfile().unwrap();
        rustix::fs::seek(&file, rustix::fs::SeekFrom::Start(1234)).unwrap();
        let (a, _b) = std::os::unix::net::UnixStream::pair().unwrap();
        let dup = rustix::io::dup(&a).unwrap();
        let owned = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let pidfd = pidfd_open(getpid(), PidfdFlags::empty()).unwrap();
        // Other tests open and close in this process: a child's table stands still.
        let directory = tempfile::tempdir_in("/dev/shm").unwrap();
        let [named, beside] = ["a name", "b"].map(|name| std::fs::File::create(directory.path().join(name)).unwrap());
        let kept = [file.as_fd(), a.as_fd(), dup.as_fd(), owned.as_fd(), pidfd.as_fd(), named.as_fd(), beside.as_fd()];
        let child = still(kept.iter().map(AsRawFd::as_raw_fd).collect());
        let of_child = pidfd_open(Pid::from_raw(child.pid).unwrap(), PidfdFlags::empty()).unwrap();
        let listed = read(&kernel, of_child.as_fd()).unwrap();
        let info_dir = std::fs::File::open(format!("/proc/{}/fdinfo", child.pid)).unwrap();
        assert_eq!(listed.len(), kept.len());
        let find = |fd: BorrowedFd<'_>| listed.iter().find(|l| l.fd == fd.as_raw_fd()).unwrap();
        for fd in [file.as_fd(), a.as_fd(), dup.as_fd(), owned.as_fd(), named.as_fd()] {
            let found = find(fd);
            let told = FdInfo::read(info_dir.as_fd(), found.fd, &mut Vec::new()).unwrap();
            let told = FdInfo { text: String::new(), ..told };
            assert_eq!(found.info, Some(told));
            assert!(found.has_no_owner);
        }
        let plain = find(named.as_fd()).plain.clone().unwrap();
        let stat = rustix::fs::fstat(&named).unwrap();
        assert_eq!((plain.name.as_slice(), plain.ino), (b"a name".as_slice(), stat.st_ino));
        assert_eq!(plain.dev, (rustix::fs::major(stat.st_dev), rustix::fs::minor(stat.st_dev)));
        assert_eq!(find(beside.as_fd()).plain.clone().unwrap().directory, plain.directory);
        // It has no name any more, or is no file.
        assert_eq!((&find(file.as_fd()).plain, &find(a.as_fd()).plain), (&None, &None));
        assert!(is_never_locked(&kernel, kernel.file(file.as_fd()).unwrap()).unwrap());
        rustix::fs::flock(&file, rustix::fs::FlockOperation::LockExclusive).unwrap();
        assert!(!is_never_locked(&kernel, kernel.file(file.as_fd()).unwrap()).unwrap());
        assert_eq!(find(a.as_fd()).socket, find(dup.as_fd()).socket);
        assert_eq!(find(a.as_fd()).socket.unwrap().1, kernel.socket(a.as_fd()).unwrap());
        assert!(find(file.as_fd()).socket.is_none());
        // fdinfo says more of it.
        assert!(find(pidfd.as_fd()).info.is_none());
    }
}
