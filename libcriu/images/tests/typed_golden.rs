//! Golden images through the typed readers and writers.

mod golden;

use std::fs::{self, File};
use std::path::PathBuf;

use criu_images::messages::*;
use criu_images::{ImageDir, ImageError, ImageReader, ImageWriter, Kind};
use prost::{Message, Name};

/// A directory of its own for each test, removed with it.
struct Scratch(PathBuf);

impl Scratch {
    fn new(test: &str) -> Scratch {
        let path = std::env::temp_dir().join(format!("criu-images-{test}-{}", std::process::id()));
        fs::create_dir(&path).unwrap();
        Scratch(path)
    }

    fn dir(&self) -> ImageDir {
        ImageDir::new(File::open(&self.0).unwrap().into())
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn plain<M: Message + Default + Name>(r: &mut ImageReader, w: &mut ImageWriter) {
    while let Some(entry) = r.entry::<M>().unwrap() {
        w.entry(&entry).unwrap();
    }
}

/// Reads an image entry by entry and writes it again.
fn copy(kind: Kind, r: &mut ImageReader, w: &mut ImageWriter) {
    match kind {
        Kind::Inventory => plain::<InventoryEntry>(r, w),
        Kind::Fdinfo => plain::<FdinfoEntry>(r, w),
        Kind::Files => plain::<FileEntry>(r, w),
        Kind::Core => plain::<CoreEntry>(r, w),
        Kind::Ids => plain::<TaskKobjIdsEntry>(r, w),
        Kind::Mm => plain::<MmEntry>(r, w),
        Kind::Pstree => plain::<PstreeEntry>(r, w),
        Kind::Fs => plain::<FsEntry>(r, w),
        Kind::RemapFpath => plain::<RemapFilePathEntry>(r, w),
        Kind::MemfdInode => plain::<MemfdInodeEntry>(r, w),
        Kind::TtyInfo => plain::<TtyInfoEntry>(r, w),
        Kind::TtyData => plain::<TtyDataEntry>(r, w),
        Kind::FileLocks => plain::<FileLockEntry>(r, w),
        Kind::Seccomp => plain::<SeccompEntry>(r, w),
        Kind::Timens => plain::<TimensEntry>(r, w),
        Kind::IpcVar => plain::<IpcVarEntry>(r, w),
        Kind::Pagemap => {
            w.entry(&r.entry::<PagemapHead>().unwrap().unwrap()).unwrap();
            plain::<PagemapEntry>(r, w);
        }
        Kind::PipesData | Kind::FifoData => {
            while let Some(e) = r.entry::<PipeDataEntry>().unwrap() {
                w.pipe_data(&e, &r.pipe_data(&e).unwrap()).unwrap();
            }
        }
        Kind::SkQueues => {
            while let Some(e) = r.entry::<SkPacketEntry>().unwrap() {
                w.packet(&e, &r.packet(&e).unwrap()).unwrap();
            }
        }
        Kind::TcpStream => {
            while let Some(e) = r.entry::<TcpStreamEntry>().unwrap() {
                let (inq, outq) = r.tcp_queues(&e).unwrap();
                w.tcp_stream(&e, &inq, &outq).unwrap();
            }
        }
        Kind::IpcnsShm => {
            while let Some(e) = r.entry::<IpcShmEntry>().unwrap() {
                w.segment(&e, r.segment(&e).unwrap().as_deref()).unwrap();
            }
        }
        Kind::IpcnsMsg => {
            while let Some(e) = r.entry::<IpcMsgEntry>().unwrap() {
                w.message_queue(&e, &r.message_queue(&e).unwrap()).unwrap();
            }
        }
        Kind::IpcnsSem => {
            while let Some(e) = r.entry::<IpcSemEntry>().unwrap() {
                w.semaphores(&e, &r.semaphores(&e).unwrap()).unwrap();
            }
        }
        Kind::GhostFile => {
            let e: GhostFileEntry = r.entry().unwrap().unwrap();
            assert!(!e.chunks());
            w.entry(&e).unwrap();
            w.raw(&r.payload(r.left()).unwrap()).unwrap();
        }
        other => panic!("no golden image of {other} was known"),
    }
}

fn kind_of(bytes: &[u8]) -> Kind {
    let word = |at: usize| Kind::by_magic(u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap()));
    word(0).or_else(|| word(4)).unwrap()
}

#[test]
fn every_image_is_written_as_it_was_read() {
    let scratch = Scratch::new("copy");
    for image in golden::entries() {
        let kind = kind_of(&image.bytes);
        let from = ImageDir::new(File::open(image.path.parent().unwrap()).unwrap().into());
        let mut r = from.open_named(kind, &image.name).unwrap().unwrap();
        let mut w = scratch.dir().create_named(kind, "copy.img").unwrap();
        copy(kind, &mut r, &mut w);
        r.end().unwrap();
        w.finish().unwrap();
        assert!(fs::read(scratch.0.join("copy.img")).unwrap() == image.bytes, "{}", image.path.display());
    }
}

#[test]
fn page_files_hold_what_their_pagemaps_count() {
    let mut pages = 0;
    for image in golden::entries().filter(|i| i.name.starts_with("pagemap-")) {
        let dir = ImageDir::new(File::open(image.path.parent().unwrap()).unwrap().into());
        let stem = image.name.strip_suffix(".img").unwrap();
        let id = stem.rsplit('-').next().unwrap().parse().unwrap();
        let kind = if stem.starts_with("pagemap-shmem-") { Kind::ShmemPagemap } else { Kind::Pagemap };
        let map = dir.pagemap(kind, id).unwrap().unwrap();
        let file = dir.page_file(&map).unwrap().unwrap();
        assert_eq!(file.pages(), map.present_pages(), "{}", image.path.display());
        let mut page = [0; 4096];
        file.read_at(file.pages() - 1, &mut page).unwrap();
        let beyond = file.read_at(file.pages(), &mut page).unwrap_err();
        assert!(matches!(beyond, ImageError::Corrupt { .. }), "{beyond}");
        pages += file.pages();
    }
    assert!(pages > 300, "{pages} pages");
}

#[test]
fn ghost_files_come_back_whole_and_in_chunks() {
    let scratch = Scratch::new("ghost");
    let dir = scratch.dir();
    let entry = |chunks, size| GhostFileEntry { mode: 0o100_600, chunks, size, ..Default::default() };
    let read = |id: u64| {
        let out = dir.create_raw("out").unwrap();
        let mut r = dir.require(Kind::GhostFile, id)?;
        let e: GhostFileEntry = r.entry()?.unwrap();
        r.copy_ghost(&e, &out)?;
        Ok::<_, ImageError>(fs::read(scratch.0.join("out")).unwrap())
    };

    let mut w = dir.create(Kind::GhostFile, 1).unwrap();
    w.entry(&entry(None, None)).unwrap();
    w.raw_from(&mut &b"all of it"[..], 9).unwrap();
    w.finish().unwrap();
    assert_eq!(read(1).unwrap(), b"all of it");

    let mut w = dir.create(Kind::GhostFile, 26).unwrap();
    w.entry(&entry(Some(true), Some(20))).unwrap();
    w.ghost_chunk(2, 3, &mut &b"abc"[..]).unwrap();
    w.ghost_chunk(10, 1, &mut &b"z"[..]).unwrap();
    w.finish().unwrap();
    assert!(scratch.0.join("ghost-file-1a.img").exists());
    assert_eq!(read(26).unwrap(), b"\0\0abc\0\0\0\0\0z\0\0\0\0\0\0\0\0\0");

    let mut w = dir.create(Kind::GhostFile, 3).unwrap();
    w.entry(&entry(Some(true), Some(20))).unwrap();
    w.ghost_chunk(18, 3, &mut &b"abc"[..]).unwrap();
    w.finish().unwrap();
    let error = read(3).unwrap_err().to_string();
    assert!(error.contains("beyond the end"), "{error}");
}
