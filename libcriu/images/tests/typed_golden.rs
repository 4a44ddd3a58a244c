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

#[test]
fn payloads_no_golden_image_has() {
    let scratch = Scratch::new("payloads");
    let dir = scratch.dir();
    let segment = IpcShmEntry { size: 5, ..Default::default() };
    let map = BpfmapDataEntry { keys_bytes: 2, values_bytes: 1, count: 1, map_id: 9 };

    let mut w = dir.create(Kind::IpcnsShm, 1).unwrap();
    w.segment(&segment, Some(b"hello")).unwrap();
    w.segment(&IpcShmEntry { size: 4096, in_pagemaps: Some(true), ..Default::default() }, None).unwrap();
    assert!(w.segment(&segment, None).is_err());
    assert!(w.segment(&segment, Some(b"hell")).unwrap_err().to_string().contains("size says 5, 4 bytes follow"));
    w.finish().unwrap();
    let mut r = dir.require(Kind::IpcnsShm, 1).unwrap();
    let e: IpcShmEntry = r.entry().unwrap().unwrap();
    assert_eq!(r.segment(&e).unwrap().unwrap(), b"hello");
    let e: IpcShmEntry = r.entry().unwrap().unwrap();
    assert_eq!(r.segment(&e).unwrap(), None);
    r.end().unwrap();

    let mut w = dir.create(Kind::BpfmapData, 0).unwrap();
    w.bpf_map(&map, b"kk", b"v").unwrap();
    assert!(w.bpf_map(&map, b"k", b"v").is_err());
    w.finish().unwrap();
    let mut r = dir.require(Kind::BpfmapData, 0).unwrap();
    let e: BpfmapDataEntry = r.entry().unwrap().unwrap();
    assert_eq!(r.bpf_map(&e).unwrap(), (b"kk".to_vec(), b"v".to_vec()));
    r.end().unwrap();

    let old = PagemapEntry { vaddr: 0x1000, compat_nr_pages: 1, in_parent: Some(true), ..Default::default() };
    assert!(old.is_in_parent() && !old.is_present());
    let mut w = dir.create_named(Kind::PagesOld, "pages-7.img").unwrap();
    w.entry(&old).unwrap();
    w.raw(&[7; 4096]).unwrap();
    w.finish().unwrap();
    let mut r = dir.require(Kind::PagesOld, 7).unwrap();
    let e: PagemapEntry = r.entry().unwrap().unwrap();
    assert_eq!(r.old_pages(&e).unwrap(), [7; 4096]);
}

#[test]
fn headers_modes_and_names() {
    use std::os::unix::fs::PermissionsExt;
    let scratch = Scratch::new("headers");
    let dir = scratch.dir();
    let stats = StatsEntry { restore: Some(RestoreStatsEntry::default()), ..Default::default() };
    let mut w = dir.create_named(Kind::Stats, &Kind::Stats.named("restore")).unwrap();
    w.entry(&stats).unwrap();
    w.finish().unwrap();
    let bytes = fs::read(scratch.0.join("stats-restore")).unwrap();
    assert_eq!(bytes[..8], [0x40, 0x59, 0x10, 0x55, 0x06, 0x33, 0x09, 0x57]);
    let mut r = dir.open_named(Kind::Stats, "stats-restore").unwrap().unwrap();
    assert_eq!(r.entry::<StatsEntry>().unwrap().unwrap(), stats);

    // Version 1 images have no common magic.
    let fs_entry = FsEntry { cwd_id: 1, root_id: 2, umask: Some(0o22) };
    dir.write_one(Kind::Fs, 5, &fs_entry).unwrap();
    let bytes = fs::read(scratch.0.join("fs-5.img")).unwrap();
    fs::write(scratch.0.join("fs-5.img"), &bytes[4..]).unwrap();
    assert_eq!(dir.read_one::<FsEntry>(Kind::Fs, 5).unwrap(), fs_entry);
    assert_eq!(fs::metadata(scratch.0.join("fs-5.img")).unwrap().permissions().mode() & 0o7777, 0o644);

    // A symlink in the place of an image is not followed when it is written.
    std::os::unix::fs::symlink("elsewhere", scratch.0.join("ids-1.img")).unwrap();
    assert!(dir.create(Kind::Ids, 1).is_err());
    assert!(!scratch.0.join("elsewhere").exists());
}
