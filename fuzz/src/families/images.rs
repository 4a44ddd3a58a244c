//! An image file: the first line is its name, the rest its bytes.

use std::cell::OnceCell;
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use criu_images::json::{self, Form, Tree};
use criu_images::messages::*;
use criu_images::{ImageDir, ImageReader, Kind, Result};

use super::split_line;

/// The memory that an image of a few kilobytes may take.
const ROOM_BYTES: u64 = 64 << 20;

thread_local! {
    static ROOM: OnceCell<Room> = const { OnceCell::new() };
}

/// A directory on a file system in memory; it goes with its thread.
struct Room {
    path: PathBuf,
    dir: ImageDir,
}

impl Room {
    fn new() -> Room {
        let path = PathBuf::from(format!("/dev/shm/criu-fuzz-{}", std::process::id()));
        std::fs::create_dir_all(&path).expect("a directory in /dev/shm");
        let dir = ImageDir::new(OwnedFd::from(std::fs::File::open(&path).expect("the directory")));
        Room { path, dir }
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.path);
    }
}

fn with_dir(act: impl FnOnce(&ImageDir)) {
    ROOM.with(|cell| act(&cell.get_or_init(Room::new).dir));
}

pub fn run(input: &[u8]) {
    let (name, bytes) = split_line(input);
    if name.contains(['/', '\0']) || name.is_empty() || name.starts_with('.') || name.len() > 64 {
        return;
    }
    as_json(name, bytes);
    with_dir(|dir| {
        let mut file = dir.create_raw(name).expect("a file in /dev/shm");
        std::io::Write::write_all(&mut file, bytes).expect("room in /dev/shm");
        drop(file);
        for kind in Kind::all().filter(|k| is_of(name, *k)) {
            let id = id_of(name);
            // Errors are what is expected; that they come back at all is what counts.
            let _ = typed(dir, kind, name, id);
        }
        dir.remove(name).expect("the file");
    });
}

fn as_json(name: &str, bytes: &[u8]) {
    let _ = json::count(name, bytes);
    let _ = Tree::of(name, bytes, Form::Pretty, true);
    for form in [Form::Compact, Form::Pretty] {
        let Ok(text) = json::decode_to_string(name, bytes, form) else { continue };
        assert!((text.len() as u64) < ROOM_BYTES + 64 * bytes.len() as u64, "{} bytes of JSON", text.len());
        // What was shown can be read again, and then shows the same.
        let image = json::encode(name, text.as_bytes()).unwrap_or_else(|e| panic!("{name}: {e}\n{text}"));
        let again = json::decode_to_string(name, &image, form).unwrap_or_else(|e| panic!("{name}: {e}\n{text}"));
        assert_eq!(text, again, "{name}");
    }
    let _ = json::encode(name, bytes);
}

fn is_of(name: &str, kind: Kind) -> bool {
    kind.file_name(id_of(name)) == name
}

fn id_of(name: &str) -> u64 {
    let digits: String = name.chars().filter(char::is_ascii_digit).collect();
    digits.parse().unwrap_or(0)
}

fn entries<M: prost::Message + Default + prost::Name>(
    dir: &ImageDir,
    kind: Kind,
    name: &str,
    mut each: impl FnMut(&mut ImageReader, &M) -> Result<()>,
) -> Result<()> {
    let Some(mut reader) = dir.open_named(kind, name)? else { return Ok(()) };
    while let Some(entry) = reader.entry::<M>()? {
        each(&mut reader, &entry)?;
    }
    reader.end()
}

/// Reads it as the engine does.
fn typed(dir: &ImageDir, kind: Kind, name: &str, id: u64) -> Result<()> {
    macro_rules! plain {
        ($($kind:ident $message:ty),* $(,)?) => {
            match kind {
                $(Kind::$kind => return entries::<$message>(dir, kind, name, |_, _| Ok(())),)*
                _ => {}
            }
        };
    }
    plain! {
        Inventory InventoryEntry, Fdinfo FdinfoEntry, Files FileEntry, Pstree PstreeEntry, Core CoreEntry, Mm MmEntry,
        Ids TaskKobjIdsEntry, Fs FsEntry, Seccomp SeccompEntry, FileLocks FileLockEntry, RemapFpath RemapFilePathEntry,
        Timens TimensEntry, TtyInfo TtyInfoEntry, Cgroup CgroupEntry, Mnts MntEntry, Creds CredsEntry, Vmas VmaEntry,
        Stats StatsEntry, Cpuinfo CpuinfoEntry, MemfdInode MemfdInodeEntry, Utsns UtsnsEntry, Userns UsernsEntry,
        Netns NetnsEntry, RegFiles RegFileEntry, Unixsk UnixSkEntry, Inetsk InetSkEntry, Pidns PidnsEntry,
        PosixTimers PosixTimerEntry, Itimers ItimerEntry, Sigact SaEntry, Rlimit RlimitEntry, IpcVar IpcVarEntry,
    }
    match kind {
        Kind::PipesData | Kind::FifoData => entries(dir, kind, name, |r, e: &PipeDataEntry| r.pipe_data(e).map(drop)),
        Kind::SkQueues => entries(dir, kind, name, |r, e: &SkPacketEntry| r.packet(e).map(drop)),
        Kind::TcpStream => entries(dir, kind, name, |r, e: &TcpStreamEntry| r.tcp_queues(e).map(drop)),
        Kind::IpcnsShm => entries(dir, kind, name, |r, e: &IpcShmEntry| r.segment(e).map(drop)),
        Kind::IpcnsMsg => entries(dir, kind, name, |r, e: &IpcMsgEntry| r.message_queue(e).map(drop)),
        Kind::IpcnsSem => entries(dir, kind, name, |r, e: &IpcSemEntry| r.semaphores(e).map(drop)),
        Kind::BpfmapData => entries(dir, kind, name, |r, e: &BpfmapDataEntry| r.bpf_map(e).map(drop)),
        Kind::GhostFile => {
            let Some(mut reader) = dir.open_named(kind, name)? else { return Ok(()) };
            if let Some(entry) = reader.entry::<GhostFileEntry>()? {
                let to = rustix::fs::memfd_create("ghost", rustix::fs::MemfdFlags::CLOEXEC).expect("a memfd");
                reader.copy_ghost(&entry, &std::fs::File::from(to))?;
            }
            reader.end()
        }
        Kind::Pagemap | Kind::ShmemPagemap => {
            if let Some(map) = dir.pagemap(kind, id)? {
                let _ = map.present_pages();
                if let Some(pages) = dir.page_file(&map)? {
                    let _ = pages.pages();
                }
            }
            Ok(())
        }
        _ => Ok(()),
    }
}
