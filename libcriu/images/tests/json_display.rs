//! Display options and payloads that no golden image has: JSON to image to JSON, and the bytes in between.

use criu_images::Kind;
use criu_images::json::{Form, Tree, decode_to_string, encode, print};

/// Encodes, checks that both forms lead back to the same bytes, and hands back the image.
fn image(json: &str) -> Vec<u8> {
    let bytes = encode("x.json", json.as_bytes()).unwrap();
    for form in [Form::Pretty, Form::Compact] {
        let text = decode_to_string("x.img", &bytes, form).unwrap();
        assert!(encode("x.json", text.as_bytes()).unwrap() == bytes, "{text}");
    }
    bytes
}

fn compact(json: &str) -> String {
    decode_to_string("x.img", &image(json), Form::Compact).unwrap()
}

/// The pretty form without its line breaks and indentation.
fn pretty(json: &str) -> String {
    let text = decode_to_string("x.img", &image(json), Form::Pretty).unwrap();
    text.lines().map(str::trim_start).collect::<Vec<_>>().join("")
}

const FOWN: &str = r#""fown": {"uid": 0, "euid": 0, "signum": 0, "pid_type": 0, "pid": 0}"#;
const OPTS: &str = r#""opts": {"so_sndbuf": 0, "so_rcvbuf": 0, "so_snd_tmo_sec": 0, "so_snd_tmo_usec": 0, "so_rcv_tmo_sec": 0, "so_rcv_tmo_usec": 0}"#;
const DESC: &str = r#""desc": {"key": 0, "uid": 0, "gid": 0, "cuid": 0, "cgid": 0, "mode": 0, "id": 0}"#;

fn shown(json: &str, wanted: &str) {
    let text = pretty(json);
    assert!(text.contains(wanted), "{text} lacks {wanted}");
}

#[test]
fn flags_by_name_and_the_rest_as_one_number() {
    let reg = |flags: &str| {
        format!(
            r#"{{"magic": "REG_FILES", "entries": [{{"id": 1, "flags": {flags}, "pos": 0, {FOWN}, "name": "x"}}]}}"#
        )
    };
    shown(&reg("0"), r#""flags": """#);
    shown(&reg("1025"), r#""flags": "O_WRONLY | O_APPEND""#);
    shown(&reg("2097152"), r#""flags": "0x200000""#);
    shown(&reg("6291457"), r#""flags": "O_WRONLY | 0x600000""#);
    shown(&reg(r#""O_RDWR|FASYNC | 0x200000""#), r#""flags": "O_RDWR | FASYNC | 0x200000""#);
    assert!(encode("x.json", reg(r#""O_NOTHING""#).as_bytes()).is_err());
}

#[test]
fn numbers_devices_and_names() {
    let ghost = |dev: &str, rdev: &str| {
        format!(
            r#"{{"magic": "GHOST_FILE", "entries": [{{"uid": 0, "gid": 0, "mode": 0, "dev": {dev}, "rdev": {rdev}, "extra": ""}}]}}"#
        )
    };
    // 254:3 in the kernel's encoding; 259:65540 in that of makedev.
    shown(&ghost("266338307", "268501764"), r#""dev": "254:3","rdev": "259:65540""#);
    assert!(compact(&ghost(r#""254:3""#, r#""259:65540""#)).contains(r#""dev": 266338307, "rdev": 268501764"#));
    assert!(encode("x.json", ghost(r#""254""#, "0").as_bytes()).is_err());
    assert!(encode("x.json", ghost(r#""4096:0""#, "0").as_bytes()).is_err());

    let core = |state: &str| {
        format!(
            r#"{{"magic": "CORE", "entries": [{{"mtype": "X86_64", "tc": {{"task_state": {state}, "exit_code": 0, "personality": 0, "flags": 0, "blk_sigset": 18446744073709551615, "comm": "x"}}}}]}}"#
        )
    };
    shown(&core("1"), r#""task_state": "Alive""#);
    shown(&core("2"), r#""task_state": 2"#);
    shown(&core(r#""Alive""#), r#""blk_sigset": "0xffffffffffffffff""#);
    // An enum value that has no name.
    assert!(compact(&core("1").replace("\"X86_64\"", "99")).contains(r#""mtype": 99"#));
    // Signed values.
    let locks = r#"{"magic": "FILE_LOCKS", "entries": [{"flag": 1, "type": 0, "pid": -1, "fd": 3, "start": -9223372036854775808, "len": -1}]}"#;
    assert_eq!(compact(locks), locks);
    // fixed64 and sint32.
    let sk = format!(
        r#"{{"magic": "UNIXSK", "entries": [{{"id": 1, "ino": 1, "type": 1, "state": 1, "flags": 0, "uflags": 0, "backlog": 0, "peer": 0, {FOWN}, {}, "name": "=00abstract", "mnt_id": -2}}]}}"#,
        OPTS.replace('}', r#", "so_filter": [1, 18446744073709551615]}"#)
    );
    assert_eq!(compact(&sk), sk);
}

#[test]
fn addresses() {
    let inet = |words: &str| {
        format!(
            r#"{{"magic": "INETSK", "entries": [{{"id": 1, "ino": 1, "family": "INET", "type": 3, "proto": 132, "state": 10, "src_port": 1, "dst_port": 2, "flags": 0, "backlog": 0, "src_addr": {words}, {FOWN}, {OPTS}}}]}}"#
        )
    };
    shown(&inet("[16777343]"), r#""src_addr": ["127.0.0.1"]"#);
    shown(&inet("[0, 0, 0, 16777216]"), r#""src_addr": ["::1"]"#);
    shown(&inet("[0, 0, 4294901760, 16777343]"), r#""src_addr": ["::ffff:7f00:1"]"#);
    shown(&inet(r#"["2001:db8:0:1:1:1:1:1"]"#), r#""src_addr": ["2001:db8:0:1:1:1:1:1"]"#);
    shown(&inet(r#"["2001:0:0:1:0:0:0:1"]"#), r#""src_addr": ["2001:0:0:1::1"]"#);
    // Neither one word nor four: no address.
    shown(&inet("[1, 2]"), r#""src_addr": [1,2]"#);
    shown(&inet("[]"), r#""type": "RAW","proto": 132,"state": "LISTEN""#);
    assert!(encode("x.json", inet(r#"["1.2.3"]"#).as_bytes()).is_err());
}

#[test]
fn strings_of_any_bytes() {
    let uts = r#"{"magic": "UTSNS", "entries": [{"nodename": "a\"\\\n\u0001\u007f\u00e4\ud83d\ude00", "domainname": "x\udcff\udc80y"}]}"#;
    assert_eq!(compact(uts), uts);
    let bytes = image(uts);
    assert!(bytes.windows(4).any(|w| w == b"x\xff\x80y"));
    assert!(bytes.windows(6).any(|w| w == "ä😀".as_bytes()));
}

#[test]
fn unknown_fields_are_kept() {
    let json = r##"{"magic": "PSTREE", "entries": [{"pid": 1, "ppid": 0, "pgid": 1, "sid": 1, "threads": [1], "#77": [5, "eHg=\n", {"fixed32": 7}, {"fixed64": 8}], "#20000": [1]}]}"##;
    assert_eq!(compact(json), json);
    assert!(encode("x.json", json.replace("#77", "#1").as_bytes()).is_err());
}

#[test]
fn fields_in_no_order_and_packed_lists_are_read() {
    let magic = [&0x5456_4319u32.to_le_bytes()[..], &Kind::Pstree.magic().to_le_bytes()].concat();
    // threads (packed), sid, pid, ppid, threads, pgid.
    let body = [42, 2, 7, 8, 32, 4, 8, 1, 16, 2, 40, 9, 24, 3];
    let image = [&magic[..], &[body.len() as u8, 0, 0, 0], &body].concat();
    assert_eq!(
        decode_to_string("x.img", &image, Form::Compact).unwrap(),
        r#"{"magic": "PSTREE", "entries": [{"pid": 1, "ppid": 2, "pgid": 3, "sid": 4, "threads": [7, 8, 9]}]}"#
    );
    // secbits (13) before the capabilities (9 to 12), one of which is scattered.
    let magic = [&0x5456_4319u32.to_le_bytes()[..], &Kind::Creds.magic().to_le_bytes()].concat();
    let ids: Vec<u8> = (1..=8).flat_map(|n| [n << 3, n]).collect();
    let body = [&[104, 5, 72, 1][..], &ids, &[80, 2, 88, 3, 96, 4, 72, 6]].concat();
    let image = [&magic[..], &[body.len() as u8, 0, 0, 0], &body].concat();
    let text = decode_to_string("x.img", &image, Form::Compact).unwrap();
    assert!(
        text.contains(r#""cap_inh": [1, 6], "cap_prm": [2], "cap_eff": [3], "cap_bnd": [4], "secbits": 5}"#),
        "{text}"
    );
    // As a tree and as text alike.
    let tree = Tree::of("x.img", &image, Form::Compact, true).unwrap();
    let mut printed = Vec::new();
    print(&tree, Form::Compact, &mut printed).unwrap();
    assert_eq!(String::from_utf8(printed).unwrap(), text);
}

#[test]
fn entries_may_come_before_the_magic() {
    let usual = r#"{"magic": "FS", "entries": [{"cwd_id": 1, "root_id": 2}]}"#;
    let unusual = r#" {"entries" : [ {"root_id" : 2 , "cwd_id":1 , "umask": null} ], "magic":"FS"} "#;
    assert_eq!(image(unusual), image(usual));
}

#[test]
fn payloads() {
    let same = |json: String| assert_eq!(compact(&json), json);
    // Five bytes are padded to eight; none when the segment is kept as pages.
    let shm = format!(r#"{{"magic": "IPCNS_SHM", "entries": [{{{DESC}, "size": 5, "extra": "aGVsbG8=\n"}}]}}"#);
    same(shm.clone());
    assert!(image(&shm).ends_with(b"hello\0\0\0"));
    // Padding that is not zero is part of what is shown.
    same(shm.replace("aGVsbG8=", "aGVsbG8hISE="));
    let msg = format!(
        r#"{{"magic": "IPCNS_MSG", "entries": [{{{DESC}, "qbytes": 9, "qnum": 1, "extra": [{{"mtype": 1, "msize": 3}}, "b25l\n"]}}, {{{DESC}, "qbytes": 9, "qnum": 0, "extra": []}}]}}"#
    );
    same(msg.clone());
    assert!(image(&msg).windows(8).any(|w| w == b"one\0\0\0\0\0"));
    same(format!(r#"{{"magic": "IPCNS_SEM", "entries": [{{{DESC}, "nsems": 5, "extra": [1, 2, 3, 4, 65535]}}]}}"#));
    same(r#"{"magic": "BPFMAP_DATA", "entries": [{"map_id": 1, "keys_bytes": 1, "values_bytes": 2, "count": 1, "extra": "a3Z2\n"}]}"#.into());
    same(r#"{"magic": "SK_QUEUES", "entries": [{"id_for": 1, "length": 0, "extra": ""}]}"#.into());
    same(
        r#"{"magic": "GHOST_FILE", "entries": [{"uid": 0, "gid": 0, "mode": 0, "chunks": true, "size": 9}, {"len": 2, "off": 4, "extra": "eHg=\n"}, {"len": 1, "off": 8, "extra": "eg==\n"}]}"#
            .into(),
    );
}

#[test]
fn every_kind_with_a_header_encodes_without_entries() {
    for kind in Kind::all() {
        let json = format!(r#"{{"magic": "{kind}", "entries": []}}"#);
        let encoded = encode("x.json", json.as_bytes());
        assert_eq!(encoded.is_ok(), kind.magic() != 0, "{kind}");
        let Ok(bytes) = encoded else { continue };
        let text = decode_to_string(&kind.file_name(1), &bytes, Form::Compact).unwrap();
        let back = Kind::by_name(text.split('"').nth(3).unwrap()).unwrap();
        assert_eq!(back.magic(), kind.magic());
        assert_eq!(bytes.len(), if kind == Kind::Inventory { 4 } else { 8 });
        assert!(kind.message().is_some());
    }
    assert_eq!(Kind::all().count(), 85);
}

#[test]
fn page_files_of_the_oldest_format() {
    use criu_images::messages::PagemapEntry;
    use prost::Message;
    let entry = PagemapEntry { vaddr: 0x1000, compat_nr_pages: 1, ..Default::default() }.encode_to_vec();
    let magic = [&0x5456_4319u32.to_le_bytes()[..], &Kind::PagesOld.magic().to_le_bytes()].concat();
    let image = [&magic[..], &(entry.len() as u32).to_le_bytes(), &entry, &[7; 4096]].concat();
    let text = decode_to_string("dir/pages-12.img", &image, Form::Compact).unwrap();
    assert!(
        text.starts_with(r#"{"magic": "PAGES_OLD", "entries": [{"vaddr": 4096, "compat_nr_pages": 1, "extra": "BwcH"#)
    );
    assert!(encode("x", text.as_bytes()).unwrap() == image);
}
