use super::*;
use proptest::prelude::*;

fn parsed(text: &str) -> Result<Settings> {
    let mut s = Settings::new();
    apply_text(text, "test.conf", &mut s).map(|()| s)
}

fn error(text: &str) -> String {
    parsed(text).unwrap_err().to_string()
}

#[test]
fn lines_of_every_shape() {
    let s = parsed(
        "# a comment\n\
         \n\
         tcp-close\n\
         no-file-locks # off\n\
         \tghost-limit 4K\r\n\
         log-file=dump.log\n\
         timeout = 7\n\
         external \"mnt[a b]:\\\"x\\\"\"\n\
         external dev[1/2]:x#y\n\
         manage-cgroups\n\
         work-dir /w # comment\n\
         action-script \"/bin/true\"\n\
         log-pid",
    )
    .unwrap();
    assert_eq!(s.msg.tcp_close, Some(true));
    assert_eq!(s.msg.file_locks, Some(false));
    assert_eq!(s.msg.ghost_limit, Some(4096));
    assert_eq!(s.msg.log_file.as_deref(), Some("dump.log"));
    assert_eq!(s.msg.timeout, Some(7));
    assert_eq!(s.msg.external, ["mnt[a b]:\"x\"", "dev[1/2]:x#y"]);
    assert_eq!(s.msg.manage_cgroups, Some(true));
    assert_eq!(s.command.work_dir.as_deref(), Some("/w"));
    assert_eq!(s.command.action_scripts, ["/bin/true"]);
    assert_eq!(s.msg.log_pid, Some(true));
}

#[test]
fn what_is_wrong_is_named_with_file_and_line() {
    for (text, want) in [
        ("tcp-close\n\nfoo\n", "config file test.conf:3: unrecognized option `foo`"),
        ("tcp-clos", "unrecognized option"),
        ("--tcp-close", "without dashes"),
        ("tcp-close yes", "option `tcp-close`: it takes no value"),
        ("no-tcp-close x", "takes no value"),
        ("tree", "needs a value"),
        ("tree =", "no value after `=`"),
        ("log-file \"x", "not closed"),
        ("log-file a b", "more text"),
        ("log-file \"a\"b", "more text"),
        ("config /x", "command line alone"),
        ("version", "command line alone"),
        ("=x", "option's name"),
        ("timeout x", "`x` is not a number"),
        ("log-file a\0b", "control character"),
    ] {
        let e = error(text);
        assert!(e.contains(want) && e.starts_with("config file test.conf:"), "{text:?}: {e}");
        assert_eq!(parsed(text).unwrap_err().errno, libc::EBADRQC);
    }
}

/// A directory that goes away with the test.
struct Dir(PathBuf);

impl Dir {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("criu-config-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Dir(path)
    }

    fn file(&self, name: &str, text: &[u8]) -> PathBuf {
        let path = self.0.join(name);
        fs::write(&path, text).unwrap();
        path
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn later_files_override_earlier_ones() {
    let dir = Dir::new("order");
    let sources = Sources {
        defaults: vec![dir.file("a", b"timeout 1\ntcp-close\nexternal a"), dir.0.join("missing")],
        environment: Some(dir.file("b", b"timeout 2\nexternal b\nshell-job")),
        explicit: Some(dir.file("c", b"no-shell-job")),
    };
    let s = sources.load().unwrap();
    assert_eq!(s.msg.timeout, Some(2));
    assert_eq!(s.msg.tcp_close, Some(true));
    assert_eq!(s.msg.external, ["a", "b"]);
    assert_eq!(s.msg.shell_job, Some(false));
}

#[test]
fn files_that_cannot_be_read_are_refused() {
    let dir = Dir::new("bad");
    let fifo = dir.0.join("fifo");
    rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, rustix::fs::Mode::from_raw_mode(0o600), 0)
        .unwrap();
    let large = dir.file("large", &vec![b'#'; MAX_CONFIG_BYTES as usize + 1]);
    let binary = dir.file("binary", &[0xff, 0xfe]);
    for path in [fifo, large, binary, dir.0.clone(), dir.0.join("missing")] {
        let e = apply(&path, &mut Settings::new()).unwrap_err();
        assert_eq!(e.errno, libc::EBADRQC);
        assert!(e.to_string().starts_with(&format!("config file {}", path.display())), "{e}");
    }
    assert!(!apply_if_there(&dir.0.join("missing"), &mut Settings::new()).unwrap());
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused(text in "(?s).{0,300}") {
        let _ = parsed(&text);
    }

    #[test]
    fn a_quoted_value_comes_back(value in "[^\\p{C}]{1,60}") {
        let quoted = value.replace('\\', "\\\\").replace('"', "\\\"");
        let s = parsed(&format!("freeze-cgroup \"{quoted}\" # x"));
        prop_assert_eq!(s.unwrap().msg.freeze_cgroup, Some(value));
    }

    #[test]
    fn a_plain_value_comes_back(value in "[!-~&&[^\"#=]][!-~]{0,60}", eq in any::<bool>()) {
        let s = parsed(&format!("freeze-cgroup{}{value}", if eq { "=" } else { "  " }));
        prop_assert_eq!(s.unwrap().msg.freeze_cgroup, Some(value));
    }
}
