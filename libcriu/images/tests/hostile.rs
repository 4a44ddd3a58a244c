//! Damaged and lying images: always an error that says where, never a panic, never memory that the file cannot justify.

mod golden;

use std::fs::{self, File};
use std::path::PathBuf;

use criu_images::json::{Form, decode_to_string, encode};
use criu_images::messages::*;
use criu_images::{ImageDir, ImageError, Kind};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// An allocation that a lying length asks for aborts the test.
fn limit_memory() {
    let limit = Rlimit { current: Some(1 << 30), ..getrlimit(Resource::As) };
    setrlimit(Resource::As, limit).unwrap();
}

fn fails(image: &[u8]) -> (u64, String) {
    match decode_to_string("x.img", image, Form::Pretty) {
        Err(ImageError::Corrupt { file, offset, reason }) => {
            assert_eq!(file, "x.img");
            (offset, reason)
        }
        other => panic!("{other:?}"),
    }
}

fn image(magic: u32, rest: &[u8]) -> Vec<u8> {
    [&0x5456_4319u32.to_le_bytes()[..], &magic.to_le_bytes(), rest].concat()
}

const PSTREE: u32 = 0x5027_3030;

#[test]
fn errors_name_offset_and_reason() {
    limit_memory();
    let fails_with = |bytes: &[u8], offset: u64, words: &str| {
        let (at, reason) = fails(bytes);
        assert!(at == offset && reason.contains(words), "{at}: {reason}; wanted {offset}: {words}");
    };
    fails_with(b"", 0, "too short");
    fails_with(b"abc", 0, "too short");
    fails_with(&0x5456_4319u32.to_le_bytes(), 4, "too short for the type's magic");
    fails_with(&[0; 8], 0, "magic 0x0");
    fails_with(&image(0xdead_beef, b""), 4, "magic 0xdeadbeef is of no image");
    // Statistics behind the common magic.
    fails_with(&image(0x5709_3306, b""), 0, "does not go with STATS");
    fails_with(&image(PSTREE, &[1, 0, 0]), 8, "3 stray bytes");
    fails_with(&image(PSTREE, &[255, 255, 255, 255, 8]), 8, "an entry of 4294967295 bytes, 1 are left");
    fails_with(&image(PSTREE, &[2, 0, 0, 0, 8, 1]), 12, "lacks ppid");
    fails_with(&image(PSTREE, &[2, 0, 0, 0, 8, 0x80]), 13, "cut off");
    fails_with(&image(PSTREE, &[2, 0, 0, 0, 10, 0]), 12, "pid has wire type 2");
    fails_with(&image(PSTREE, &[3, 0, 0, 0, 42, 9, 1]), 14, "9 bytes are announced, 1 are left");
    fails_with(&image(PSTREE, &[4, 0, 0, 0, 8, 1, 8, 2]), 14, "pid is given twice");
    fails_with(&image(PSTREE, &[6, 0, 0, 0, 8, 1, 16, 2, 8, 3]), 16, "pid is given twice");
    fails_with(&image(PSTREE, &[1, 0, 0, 0, 0]), 12, "not a field number");
    fails_with(&image(PSTREE, &[1, 0, 0, 0, 0x2f]), 13, "wire type 7");
    let wide = [13, 0, 0, 0, 8, 1, 16, 2, 24, 3, 32, 0xff, 0xff, 0xff, 0xff, 0xff, 0x0f];
    fails_with(&image(PSTREE, &wide), 18, "sid: 0x7fffffffff is out of range");
    // A pipe's payload, a message queue, a semaphore set that promise more than there is.
    fails_with(&image(0x5645_3709, &[4, 0, 0, 0, 8, 1, 16, 90, b'x']), 16, "90 bytes are announced, 1 are left");
    let desc = [10, 14, 8, 0, 16, 0, 24, 0, 32, 0, 40, 0, 48, 0, 56, 0];
    let sem = [&[22, 0, 0, 0][..], &desc, &[16, 0xff, 0xff, 0xff, 0xff, 15]].concat();
    fails_with(&image(0x5957_3019, &sem), 34, "8589934592 bytes are announced, 0 are left");
    let msg = [&[24, 0, 0, 0][..], &desc, &[16, 0, 24, 0xff, 0xff, 0xff, 0xff, 15]].concat();
    fails_with(&image(0x5545_3737, &msg), 36, "0 stray bytes");
}

#[test]
fn nesting_has_an_end() {
    limit_memory();
    // aa_namespace.namespaces in one another.
    let mut body = vec![10, 1, b'n'];
    for _ in 0..2000 {
        let mut outer = vec![10, 1, b'n', 26];
        let mut len = body.len();
        while len >= 128 {
            outer.push(len as u8 | 128);
            len >>= 7;
        }
        outer.push(len as u8);
        outer.extend_from_slice(&body);
        body = outer;
    }
    let mut entry = vec![10];
    let mut len = body.len();
    while len >= 128 {
        entry.push(len as u8 | 128);
        len >>= 7;
    }
    entry.push(len as u8);
    entry.extend_from_slice(&body);
    let bytes = image(0x5942_3047, &[&(entry.len() as u32).to_le_bytes()[..], &entry].concat());
    assert!(fails(&bytes).1.contains("deeper than 100"));
    let json = format!(r#"{{"magic": "PSTREE", "entries": [{}"#, "[".repeat(100_000));
    assert!(encode("x.json", json.as_bytes()).unwrap_err().to_string().contains("deeper"));
}

#[test]
fn json_errors_name_offset_and_reason() {
    let fails_with = |json: &str, words: &str| {
        let error = encode("x.json", json.as_bytes()).unwrap_err().to_string();
        assert!(error.starts_with("x.json: offset ") && error.contains(words), "{json}: {error}");
    };
    let pstree = |fields: &str| format!(r#"{{"magic": "PSTREE", "entries": [{{{fields}}}]}}"#);
    fails_with("", "the text ends");
    fails_with("{}", "no \"magic\"");
    fails_with(r#"{"magic": "PSTREE"}"#, "no \"entries\"");
    fails_with(r#"{"magic": "PAGES", "entries": []}"#, "is of no image");
    fails_with(r#"{"magic": "NOPE", "entries": []}"#, "is of no image");
    fails_with(r#"{"magic": "PSTREE", "entries": []} x"#, "follows the image");
    fails_with(r#"{"magic": "PSTREE", "entries": [], "more": 1}"#, "is no part of an image");
    fails_with(&pstree(r#""pid": 1"#), "lacks ppid");
    fails_with(&pstree(r#""pid": 1, "ppid": 1, "pgid": 1, "sid": 1, "x": 1"#), "has no field \"x\"");
    fails_with(&pstree(r#""pid": 4294967296, "ppid": 1, "pgid": 1, "sid": 1"#), "out of range");
    fails_with(&pstree(r#""pid": -1, "ppid": 1, "pgid": 1, "sid": 1"#), "out of range");
    fails_with(&pstree(r#""pid": 1.5, "ppid": 1, "pgid": 1, "sid": 1"#), "not an integer");
    fails_with(&pstree(r#""pid": 1, "ppid": 1, "pgid": 1, "sid": 1, "pid": 1"#), "given twice");
    fails_with(&pstree(r#""pid": 1, "ppid": 1, "pgid": 1, "sid": 1, "threads": 1"#), "is a list");
    let pipe = |extra: &str| format!(r#"{{"magic": "PIPES_DATA", "entries": [{{"pipe_id": 1, "bytes": 3{extra}}}]}}"#);
    fails_with(&pipe(""), "no \"extra\"");
    fails_with(&pipe(r#", "extra": "Zg==\n""#), "1 bytes where the entry announces 3");
    fails_with(&pipe(r#", "extra": "Zg""#), "no base64");
}

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

#[test]
fn typed_readers_refuse_what_they_would_lose_or_misread() {
    limit_memory();
    let scratch = Scratch::new("refuse");
    let dir = scratch.dir();
    let fails_with = |bytes: &[u8], words: &str| {
        fs::write(scratch.0.join("pstree.img"), bytes).unwrap();
        let error = dir.read_all::<PstreeEntry>(Kind::Pstree, 0).unwrap_err().to_string();
        assert!(error.starts_with("pstree.img: offset ") && error.contains(words), "{error}");
    };
    fails_with(b"ab", "4 bytes are announced, 2 are left");
    fails_with(&image(0x5505_3847, b""), "offset 4: magic 0x55053847 is not that of PSTREE");
    fails_with(&image(PSTREE, &[255, 255, 255, 255]), "offset 8: an entry of 4294967295 bytes, 0 are left");
    fails_with(&image(PSTREE, &[2, 0, 0, 0, 8, 1]), "offset 12: pstree_entry lacks ppid");
    fails_with(&image(PSTREE, &[10, 0, 0, 0, 8, 1, 16, 1, 24, 1, 32, 1, 56, 9]), "unknown field 7");

    fs::write(scratch.0.join("pipes-data.img"), image(0x5645_3709, &[4, 0, 0, 0, 8, 1, 16, 90, b'x'])).unwrap();
    let mut r = dir.require(Kind::PipesData, 0).unwrap();
    let e: PipeDataEntry = r.entry().unwrap().unwrap();
    assert!(r.pipe_data(&e).unwrap_err().to_string().contains("90 bytes are announced, 1 are left"));

    assert!(matches!(dir.require(Kind::Core, 1), Err(ImageError::Missing { file }) if file == "core-1.img"));
    fs::create_dir(scratch.0.join("files.img")).unwrap();
    assert!(dir.open(Kind::Files, 0).unwrap_err().to_string().contains("not a regular file"));
}

#[test]
fn pagemaps_that_lie() {
    let scratch = Scratch::new("pagemaps");
    let dir = scratch.dir();
    let write = |records: &[(u64, u64)]| {
        let mut w = dir.create(Kind::Pagemap, 1).unwrap();
        w.entry(&PagemapHead { pages_id: 1 }).unwrap();
        for &(vaddr, pages) in records {
            let flags = Some(criu_images::pages::PE_PRESENT);
            w.entry(&PagemapEntry { vaddr, nr_pages: Some(pages), flags, ..Default::default() }).unwrap();
        }
        w.finish().unwrap();
        dir.pagemap(Kind::Pagemap, 1)
    };
    for (records, words) in [
        (&[(0x1000, 2), (0x2000, 1)][..], "out of order"),
        (&[(0x1001, 1)], "unaligned"),
        (&[(0x1000, 0)], "0 pages"),
        (&[(0x1000, u64::MAX)], "pages at"),
        (&[(u64::MAX - 0xfff, 1)], "pages at"),
    ] {
        let error = write(records).unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
    }
    let map = write(&[(0x1000, 2), (0x3000, 1)]).unwrap().unwrap();
    assert!(matches!(dir.page_file(&map), Err(ImageError::Missing { file }) if file == "pages-1.img"));
    fs::write(scratch.0.join("pages-1.img"), [0; 2 * 4096 + 100]).unwrap();
    let error = dir.page_file(&map).unwrap_err().to_string();
    assert!(error.contains("3 pages are in the pagemap, 2 in the file"), "{error}");
}

/// What was decoded has to encode, and then decode to the same again.
fn survives(name: &str, bytes: &[u8], form: Form) -> bool {
    let Ok(text) = decode_to_string(name, bytes, form) else { return false };
    let again = encode(name, text.as_bytes()).unwrap_or_else(|e| panic!("{e}: {text}"));
    assert_eq!(decode_to_string(name, &again, form).unwrap(), text);
    true
}

#[test]
fn truncated_anywhere() {
    limit_memory();
    for image in golden::entries() {
        let step = 1 + image.bytes.len() / 150;
        for len in (0..image.bytes.len()).step_by(step) {
            survives(&image.name, &image.bytes[..len], Form::Compact);
        }
    }
}

#[test]
fn flipped_bits() {
    limit_memory();
    let scratch = Scratch::new("flips");
    let dir = scratch.dir();
    let (mut random, mut good, mut bad) = (1u64, 0, 0);
    for image in golden::entries() {
        let mut bytes = image.bytes.clone();
        let step = 1 + bytes.len() / 250;
        for at in (0..bytes.len()).step_by(step) {
            // xorshift64
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            let bit = 1 << (random % 8);
            bytes[at] ^= bit;
            let form = if random & 256 == 0 { Form::Pretty } else { Form::Compact };
            if survives(&image.name, &bytes, form) {
                good += 1
            } else {
                bad += 1
            }
            if at % 8 == 0 && image.name.starts_with("core-") {
                fs::write(scratch.0.join("core-1.img"), &bytes).unwrap();
                let _ = dir.read_one::<CoreEntry>(Kind::Core, 1);
            }
            bytes[at] ^= bit;
        }
    }
    assert!(good > 1000 && bad > 1000, "{good} good, {bad} bad");
}
