//! Golden images against the JSON that CRIU's image tool printed of them.

mod golden;

use criu_images::json::{Form, decode_to_string, encode};

#[test]
fn decodes_to_the_same_text() {
    for image in golden::entries() {
        let text = decode_to_string(&image.name, &image.bytes, Form::Pretty).unwrap();
        let wanted = image.json.unwrap();
        if let Some((n, (got, want))) = text.lines().zip(wanted.lines()).enumerate().find(|(_, (g, w))| g != w) {
            panic!("{}: line {}: {got:?}, not {want:?}", image.path.display(), n + 1);
        }
        assert_eq!(text, wanted.trim_end_matches('\n'), "{}", image.path.display());
    }
}

#[test]
fn golden_json_encodes_to_the_same_bytes() {
    for image in golden::entries() {
        let bytes = encode(&image.name, image.json.unwrap().as_bytes()).unwrap();
        assert!(bytes == image.bytes, "{}", image.path.display());
    }
}

#[test]
fn compact_form_is_one_line_of_plain_numbers_and_encodes_back() {
    for image in golden::entries() {
        let text = decode_to_string(&image.name, &image.bytes, Form::Compact).unwrap();
        assert!(!text.contains('\n'));
        assert!(!text.contains("\"0x"), "{}", image.path.display());
        assert!(encode(&image.name, text.as_bytes()).unwrap() == image.bytes, "{}", image.path.display());
    }
}

#[test]
fn compact_form_of_known_images() {
    let of = |folder: &str, file: &str| {
        let bytes = std::fs::read(golden::directory().join(folder).join(file)).unwrap();
        decode_to_string(file, &bytes, Form::Compact).unwrap()
    };
    assert_eq!(
        of("files", "pipes-data.img"),
        r#"{"magic": "PIPES_DATA", "entries": [{"pipe_id": 1474816, "bytes": 11, "size": 65536, "extra": "aW4gdGhlIHBpcGU=\n"}]}"#
    );
    assert_eq!(of("task", "seccomp.img"), r#"{"magic": "SECCOMP", "entries": [{}]}"#);
    assert_eq!(
        of("tree", "core-3329.img"),
        r#"{"magic": "CORE", "entries": [{"mtype": "X86_64", "tc": {"task_state": 2, "exit_code": 1792, "personality": 0, "flags": 0, "blk_sigset": 0, "comm": "golden"}}]}"#
    );
}
