//! The kernel's own memory, read only: for what no system call tells of. Two things are needed: the right to run a BPF
//! program (CAP_BPF and CAP_PERFMON, or CAP_SYS_ADMIN), which copies bytes, and the layout of structures, which kernels
//! with CONFIG_DEBUG_INFO_BTF describe (`btf`).
//!
//! Nothing is changed by a look, and a wrong address is an error. Lists may change while they are read: callers bound
//! every walk, and compare what they find with what they know.

mod btf;
mod gather;
mod iterator;
mod percpu;

use std::cell::{Cell, OnceCell, RefCell};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::rc::Rc;

pub(crate) use self::btf::{Layouts, Member};
use self::gather::Gather;
pub(crate) use self::iterator::{Each, Iterator, Word};
use super::bpf;
use super::descriptor::adopt;
use super::view::View;

/// A place in the kernel's memory.
pub(crate) type Address = u64;

const PROG_TEST_RUN: i32 = 10;
const PROG_TYPE_SYSCALL: u32 = 31;
const SLEEPABLE: u32 = 1 << 4;

const MAP_CREATE: i32 = 0;
const MAP_TYPE_ARRAY: u32 = 2;
const MMAPABLE: u32 = 1 << 10;

/// Copied by one run.
const CHUNK_BYTES: usize = 4096;

/// What the program is run on: the question, and the answer if it is a number. Bytes are in the map.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
struct Context {
    what: u64,
    address: u64,
    len: u64,
}

/// A machine with more than 1 TiB has to tell where its memory starts.
const MOST_MEMORY_GIB: u64 = 1024;
const MOST_DESCRIPTIONS_GIB: u64 = 16;

const READ: u64 = 0;
const CURRENT_TASK: u64 = 1;
const SYMBOL: u64 = 2;
/// KSYM_NAME_LEN
const LONGEST_NAME: i32 = 512;
/// A place in the program for the number of the map.
const MAP: i32 = -1;

/// Looks into the kernel's memory.
#[derive(Debug)]
pub(crate) struct Kernel {
    program: OwnedFd,
    bytes: View,
    pub layouts: &'static Layouts,
    pages: Cell<Option<Pages>>,
    /// Made when the first list is read.
    gather: OnceCell<Gather>,
    /// To what each CPU has one of, as soon as it was asked for.
    distances: OnceCell<Vec<u64>>,
}

/// Where memory and its descriptions (`struct page`) start.
#[derive(Clone, Copy, Debug)]
struct Pages {
    memory: Address,
    descriptions: Address,
}

impl Kernel {
    /// Once for each process that looks: whoever asks again gets the same.
    ///
    /// # Errors
    /// EPERM without the right; ENOENT: the kernel does not describe its structures; EINVAL: it is too old.
    ///
    /// # References
    /// bpf(2); BPF_PROG_TYPE_SYSCALL (Linux 5.14)
    pub(crate) fn open() -> io::Result<Rc<Self>> {
        thread_local! {
            static OPENED: RefCell<Option<(u32, Rc<Kernel>)>> = const { RefCell::new(None) };
        }
        let me = std::process::id();
        OPENED.with_borrow_mut(|opened| {
            if let Some((_, kernel)) = opened.as_ref().filter(|(by, _)| *by == me) {
                return Ok(kernel.clone());
            }
            let kernel = Rc::new(Self::open_anew()?);
            // A copy of the engine would answer into the same memory; and its descriptors may have been closed.
            if let Some(stale) = opened.replace((me, kernel.clone())) {
                std::mem::forget(stale);
            }
            Ok(kernel)
        })
    }

    fn open_anew() -> io::Result<Self> {
        let map = create_map(CHUNK_BYTES)?;
        let program = load(PROGRAM, map.as_fd())?;
        let (bytes, layouts) = (View::of(map.as_fd(), CHUNK_BYTES)?, Layouts::of_this_kernel()?);
        Ok(Kernel {
            program,
            bytes,
            layouts,
            pages: Cell::new(None),
            gather: OnceCell::new(),
            distances: OnceCell::new(),
        })
    }

    /// # Errors
    /// EFAULT or ERANGE: there is nothing.
    pub(crate) fn read(&self, at: Address, into: &mut [u8]) -> io::Result<()> {
        let mut from = at;
        for chunk in into.chunks_mut(CHUNK_BYTES) {
            self.run(Context { what: READ, address: from, len: chunk.len() as u64 })?;
            self.bytes.copy_to(0, chunk);
            from = from.wrapping_add(chunk.len() as u64);
        }
        Ok(())
    }

    /// The number at a member of the structure at `at`, of at most 8 bytes. `path` as [`Layouts::member`] has it.
    pub(crate) fn number(&self, at: Address, structure: &str, path: &str) -> io::Result<u64> {
        let member = self.layouts.member(structure, path)?;
        let mut bytes = [0u8; 8];
        let len = member.bytes.min(8);
        self.read(at.wrapping_add(member.offset as u64), &mut bytes[..len])?;
        Ok(u64::from_le_bytes(bytes))
    }

    /// Where a member of the structure at `at` is.
    pub(crate) fn place(&self, at: Address, structure: &str, path: &str) -> io::Result<Address> {
        Ok(at.wrapping_add(self.layouts.member(structure, path)?.offset as u64))
    }

    /// # Errors
    /// ENOENT: there is none, or the kernel does not tell of data.
    pub(crate) fn symbol(&self, name: &str) -> io::Result<Address> {
        let text = [name.as_bytes(), &[0]].concat();
        self.bytes.put(0, &text);
        Ok(self.run(Context { what: SYMBOL, address: 0, len: text.len() as u64 })?.address)
    }

    fn task(&self) -> io::Result<Address> {
        Ok(self.run(Context { what: CURRENT_TASK, ..Context::default() })?.address)
    }

    /// The `struct file` behind a descriptor of this process.
    pub(crate) fn file(&self, fd: BorrowedFd<'_>) -> io::Result<Address> {
        let task = self.task()?;
        let files = self.number(task, "task_struct", "files")?;
        let table = self.number(files, "files_struct", "fdt")?;
        let entries = self.number(table, "fdtable", "fd")?;
        let mut pointer = [0u8; 8];
        self.read(entries.wrapping_add(8 * fd.as_raw_fd() as u64), &mut pointer)?;
        Ok(u64::from_le_bytes(pointer))
    }

    /// The `struct task_struct` of the task that a pidfd names.
    pub(crate) fn task_of(&self, pidfd: BorrowedFd<'_>) -> io::Result<Address> {
        // Linux 6.9: pidfds have inodes, which know the pid; before, the file does.
        let file = self.file(pidfd)?;
        let pid = match self.number(file, "file", "private_data")? {
            0 => self.number(self.number(file, "file", "f_inode")?, "inode", "i_private")?,
            pid => pid,
        };
        let first = self.number(self.place(pid, "pid", "tasks")?, "hlist_head", "first")?;
        Ok(first.wrapping_sub(self.layouts.member("task_struct", "pid_links")?.offset as u64))
    }

    /// The `struct sock` behind a descriptor of a socket.
    pub(crate) fn socket(&self, fd: BorrowedFd<'_>) -> io::Result<Address> {
        let socket = self.number(self.file(fd)?, "file", "private_data")?;
        self.number(socket, "socket", "sk")
    }

    /// Where the memory is that a `struct page` stands for.
    ///
    /// # Errors
    /// ENXIO: it cannot be found out how this kernel lays out its memory.
    pub(crate) fn page(&self, page: Address) -> io::Result<Address> {
        let pages = match self.pages.get() {
            Some(pages) => pages,
            None => self.find_pages()?,
        };
        self.pages.set(Some(pages));
        self.page_in(pages, page)
    }

    fn page_in(&self, pages: Pages, page: Address) -> io::Result<Address> {
        let index = page.wrapping_sub(pages.descriptions) / self.layouts.bytes("page")? as u64;
        Ok(pages.memory.wrapping_add(index << 12))
    }

    /// Both are placed at random at the start, and only kernels with CONFIG_KALLSYMS_ALL tell where. They are multiples of
    /// 1 GiB: those are tried on a page whose contents are known, that of a pipe.
    fn find_pages(&self) -> io::Result<Pages> {
        let mut known = [0u8; 32];
        rustix::rand::getrandom(&mut known, rustix::rand::GetRandomFlags::empty())?;
        let (reader, writer) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
        rustix::io::write(&writer, &known)?;
        let pipe = self.number(self.file(reader.as_fd())?, "file", "private_data")?;
        let page = self.number(self.number(pipe, "pipe_inode_info", "bufs")?, "pipe_buffer", "page")?;
        let is_it = |pages: &Pages| {
            let mut there = [0u8; 32];
            let found = self.page_in(*pages, page).and_then(|at| self.read(at, &mut there));
            found.is_ok() && there == known
        };
        if let Ok(told) = self.told_pages()
            && is_it(&told)
        {
            return Ok(told);
        }
        // Where a task is described, memory has started; where a page is, descriptions.
        let (task, step) = (self.task()?, 1 << 30);
        let starts = |within: Address, most: u64| (0..most).map(move |n| (within & !(step - 1)).wrapping_sub(n * step));
        let all = starts(page, MOST_DESCRIPTIONS_GIB)
            .flat_map(|descriptions| starts(task, MOST_MEMORY_GIB).map(move |memory| Pages { memory, descriptions }));
        let found = all.into_iter().find(is_it);
        found.ok_or_else(|| io::Error::from_raw_os_error(libc::ENXIO))
    }

    fn told_pages(&self) -> io::Result<Pages> {
        let base = |name: &str| {
            let mut bytes = [0u8; 8];
            self.read(self.symbol(name)?, &mut bytes)?;
            Ok::<_, io::Error>(u64::from_le_bytes(bytes))
        };
        Ok(Pages { memory: base("page_offset_base")?, descriptions: base("vmemmap_base")? })
    }

    fn run(&self, context: Context) -> io::Result<Context> {
        run(self.program.as_fd(), context)
    }
}

fn run(program: BorrowedFd<'_>, mut context: Context) -> io::Result<Context> {
    #[repr(C)]
    #[derive(Default)]
    struct Run {
        program: u32,
        result: u32,
        data: [u32; 8],
        context_bytes: u32,
        context_out_bytes: u32,
        context: u64,
        context_out: u64,
        flags: u32,
        cpu: u32,
        batch: u32,
        pad: u32,
    }
    let mut run = Run {
        program: program.as_raw_fd() as u32,
        context_bytes: size_of::<Context>() as u32,
        context: &raw mut context as u64,
        ..Run::default()
    };
    bpf::call(PROG_TEST_RUN, &mut run)?;
    match run.result as i32 {
        0 => Ok(context),
        errno => Err(io::Error::from_raw_os_error(errno.saturating_neg())),
    }
}

/// An instruction: code, destination and source register, offset, number.
const fn instruction(code: u8, to: u8, from: u8, offset: i16, number: i32) -> u64 {
    code as u64 | (to as u64) << 8 | (from as u64) << 12 | (offset as u16 as u64) << 16 | (number as u32 as u64) << 32
}

const LOAD: u8 = 0x79;
const STORE: u8 = 0x7b;
const STORE_NUMBER: u8 = 0x7a;
const MOVE: u8 = 0xbf;
const MOVE_NUMBER: u8 = 0xb7;
const ADD_NUMBER: u8 = 0x07;
const IF_EQUAL: u8 = 0x15;
const IF_GREATER: u8 = 0x25;
const CALL: u8 = 0x85;
const EXIT: u8 = 0x95;

const LOAD_MAP: u8 = 0x18;
/// As source register of `LOAD_MAP`: the map's first value.
const MAP_VALUE: u8 = 2;

/// Copies kernel memory to the map, or tells of the running task or of a symbol.
const PROGRAM: &[u64] = &[
    instruction(MOVE, 6, 1, 0, 0),
    instruction(LOAD, 7, 6, 0, 0),
    instruction(LOAD, 2, 6, 16, 0),
    instruction(LOAD_MAP, 1, MAP_VALUE, 0, MAP),
    instruction(0, 0, 0, 0, 0),
    instruction(IF_EQUAL, 7, 0, 5, CURRENT_TASK as i32),
    instruction(IF_EQUAL, 7, 0, 8, SYMBOL as i32),
    // bpf_probe_read_kernel: r2 bytes from r3 to r1
    instruction(LOAD, 3, 6, 8, 0),
    instruction(IF_GREATER, 2, 0, 15, CHUNK_BYTES as i32),
    instruction(CALL, 0, 0, 0, 113),
    instruction(EXIT, 0, 0, 0, 0),
    // bpf_get_current_task
    instruction(CALL, 0, 0, 0, 35),
    instruction(STORE, 6, 0, 8, 0),
    instruction(MOVE_NUMBER, 0, 0, 0, 0),
    instruction(EXIT, 0, 0, 0, 0),
    // bpf_kallsyms_lookup_name: the name of r2 bytes at r1, flags r3, to r4
    instruction(IF_GREATER, 2, 0, 8, LONGEST_NAME),
    instruction(MOVE_NUMBER, 3, 0, 0, 0),
    instruction(STORE_NUMBER, 10, 0, -8, 0),
    instruction(MOVE, 4, 10, 0, 0),
    instruction(ADD_NUMBER, 4, 0, 0, -8),
    instruction(CALL, 0, 0, 0, 179),
    instruction(LOAD, 1, 10, -8, 0),
    instruction(STORE, 6, 1, 8, 0),
    instruction(EXIT, 0, 0, 0, 0),
    instruction(MOVE_NUMBER, 0, 0, 0, -libc::E2BIG),
    instruction(EXIT, 0, 0, 0, 0),
];

fn create_map(bytes: usize) -> io::Result<OwnedFd> {
    let [kind, key, value, entries, flags] = [MAP_TYPE_ARRAY, 4, bytes as u32, 1, MMAPABLE];
    bpf::call(MAP_CREATE, &mut [kind, key, value, entries, flags]).map(adopt)
}

fn load(program: &[u64], map: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let to_map = instruction(LOAD_MAP, 0, MAP_VALUE, 0, MAP);
    let numbered = instruction(0, 0, 0, 0, map.as_raw_fd());
    // Whichever register it is loaded into.
    let is_to_map = |i: u64| i & !0xf00 == to_map;
    let code: Vec<u64> =
        program.iter().map(|&i| if is_to_map(i) { i & u64::from(u32::MAX) | numbered } else { i }).collect();
    let program = bpf::Program { kind: PROG_TYPE_SYSCALL, code: &code, flags: SLEEPABLE, ..bpf::Program::default() };
    program.load()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::socket::option_bytes;

    #[test]
    fn a_socket_as_the_kernel_has_it() {
        let kernel = match Kernel::open() {
            // Without the right, or a kernel that does not describe itself.
            Err(e) if matches!(e.raw_os_error(), Some(libc::EPERM | libc::ENOENT | libc::EINVAL)) => return,
            other => other.unwrap(),
        };
        let (a, b) = std::os::unix::net::UnixStream::pair().unwrap();
        let cookie = |fd: BorrowedFd<'_>| {
            let bytes = option_bytes(fd, libc::SOL_SOCKET, libc::SO_COOKIE, 8).unwrap();
            u64::from_le_bytes(bytes.try_into().unwrap())
        };
        let (sock_a, sock_b) = (kernel.socket(a.as_fd()).unwrap(), kernel.socket(b.as_fd()).unwrap());
        let told = |sock| kernel.number(sock, "sock", "__sk_common.skc_cookie.counter").unwrap();
        assert_eq!([cookie(a.as_fd()), cookie(b.as_fd())], [told(sock_a), told(sock_b)]);
        assert_eq!(kernel.number(sock_a, "unix_sock", "peer").unwrap(), sock_b);
        assert!(kernel.layouts.member("unix_sock", "no_such_member").is_err());
        let cookie = kernel.layouts.member("sock", "__sk_common.skc_cookie.counter").unwrap();
        let named = kernel.layouts.name_at("sock", 8 * cookie.offset + 3).unwrap();
        assert_eq!(named, "__sk_common.skc_cookie.counter");
        assert!(kernel.read(8, &mut [0; 8]).is_err());
        kernel.find_pages().unwrap();
    }
}
