use super::*;
use std::collections::HashSet;

fn set(name: &str, given: Given<'_>) -> Result<Settings, String> {
    let mut s = Settings::new();
    by_name(name).unwrap().set(&mut s, given).map(|()| s)
}

fn with(name: &str, value: &str) -> Settings {
    set(name, Given::Value(value)).unwrap()
}

#[test]
fn the_table_holds_the_contract_and_nothing_else() {
    let mut rows = 0;
    for line in include_str!("contract.tsv").lines().skip(1) {
        let mut columns = line.split('\t');
        let name = columns.next().unwrap().trim_start_matches('-');
        let kind = columns.next().unwrap();
        let spec = by_name(name).unwrap_or_else(|| panic!("--{name} is missing"));
        let want = match spec.kind {
            OptionKind::Switch => "switch".to_owned(),
            OptionKind::SwitchNo => format!("switch, also --no-{name}"),
            OptionKind::Value => "takes a value".to_owned(),
            OptionKind::OptionalValue => "may take a value".to_owned(),
        };
        assert_eq!(kind, want, "--{name}");
        if let Some(letter) = columns.next().and_then(|s| s.chars().nth(1)) {
            assert_eq!(spec.short, Some(letter), "--{name}");
        }
        rows += 1;
    }
    assert_eq!(rows, options().count());
}

#[test]
fn names_and_letters_are_unique_and_documented() {
    let mut names = HashSet::new();
    let mut letters = HashSet::new();
    for o in options() {
        assert!(names.insert(o.name), "{}", o.name);
        assert!(o.short.is_none_or(|l| letters.insert(l)), "{}", o.name);
        assert!(o.help.ends_with('.') && o.help.len() > 10, "{}", o.name);
        let has_value = matches!(o.kind, OptionKind::Value | OptionKind::OptionalValue);
        assert_eq!(has_value, !o.value.is_empty(), "{}", o.name);
    }
}

#[test]
fn an_option_with_a_field_changes_the_message() {
    let samples = [
        ("tree", "7"),
        ("join-ns", "net:/proc/1/ns/net"),
        ("ext-mount-map", "/a:b"),
        ("cgroup-root", "/x"),
        ("inherit-fd", "fd[3]:tty[1:2]"),
        ("ghost-limit", "1M"),
        ("lsm-profile", "apparmor:x"),
        ("timeout", "3"),
        ("empty-ns", "net"),
        ("veth-pair", "a=b"),
        ("status-fd", "3"),
        ("ps-socket", "3"),
        ("port", "80"),
        ("pre-dump-mode", "read"),
        ("file-validation", "filesize"),
        ("network-lock", "skip"),
    ];
    for o in options().filter(|o| !o.field.is_empty()) {
        let given = match o.kind {
            OptionKind::Value => Given::Value(samples.iter().find(|s| s.0 == o.name).map_or("some", |s| s.1)),
            _ => Given::On,
        };
        let s = set(o.name, given).unwrap_or_else(|e| panic!("--{}: {e}", o.name));
        let changed = s != Settings::new();
        assert!(changed, "--{} changes nothing", o.name);
        if !matches!(o.name, "page-server" | "exec-cmd" | "config") {
            assert_ne!(s.msg, Settings::new().msg, "--{}", o.name);
        }
    }
}

#[test]
fn switches_go_off_again() {
    assert_eq!(set("tcp-close", Given::Off).unwrap().msg.tcp_close, Some(false));
    assert!(set("leave-running", Given::Off).is_err());
    assert!(set("tree", Given::Off).is_err());
    assert!(set("tree", Given::On).is_err());
    assert!(set("tcp-close", Given::Value("1")).is_err());
}

#[test]
fn long_names_resolve_like_getopt() {
    assert_eq!(resolve("tree", false).unwrap().0.name, "tree");
    assert_eq!(resolve("tre", false).unwrap().0.name, "tree");
    assert_eq!(resolve("tls", false).unwrap().0.name, "tls", "an exact name wins over longer ones");
    assert_eq!(resolve("no-tcp-c", false).unwrap(), (by_name("tcp-close").unwrap(), Given::Off));
    assert!(matches!(resolve("tcp-", false), Err(LookupError::Ambiguous(_, names)) if names.len() == 2));
    assert!(matches!(resolve("nonsense", false), Err(LookupError::Unknown(_))));
    assert!(matches!(resolve("", false), Err(LookupError::Unknown(_))));
    assert!(matches!(resolve("tre", true), Err(LookupError::Unknown(_))));
}

#[test]
fn verbosity_in_all_its_spellings() {
    for (given, want) in [
        (Given::On, 3),
        (Given::Value("4"), 4),
        (Given::Value("0"), 0),
        (Given::Value("9"), 4),
        (Given::Value("vvv"), 4),
        (Given::Value("erbosity=0"), 0),
        (Given::Value("erbosity=3"), 3),
    ] {
        assert_eq!(set("verbosity", given).unwrap().msg.log_level, Some(want), "{given:?}");
    }
    for wrong in ["x", "-1", "4x", "erbosity=x", "99999999999"] {
        assert!(set("verbosity", Given::Value(wrong)).is_err(), "{wrong}");
    }
}

#[test]
fn values_are_read_and_checked() {
    assert_eq!(with("ghost-limit", "4K").msg.ghost_limit, Some(4096));
    assert_eq!(with("ext-unix-sk", "12,13").msg.unix_sk_ino.len(), 2);
    let m = with("inherit-fd", "fd[3]:pipe:[123]").msg.inherit_fd;
    assert_eq!((m[0].fd, m[0].key.as_str()), (3, "pipe:[123]"));
    let j = with("join-ns", "user:/x,0,0").msg.join_ns;
    assert_eq!((j[0].ns_file.as_str(), j[0].extra_opt.as_deref()), ("/x", Some("0,0")));
    let c = with("cgroup-root", "cpu,cpuacct:/a:/b").msg.cg_root;
    assert_eq!((c[0].ctrl.as_deref(), c[0].path.as_str()), (Some("cpu,cpuacct"), "/a:/b"));
    assert_eq!(with("cgroup-root", "/a:/b").msg.cg_root[0].path, "/a:/b");
    assert_eq!(with("ext-mount-map", "auto").msg.auto_ext_mnt, Some(true));
    assert_eq!(with("empty-ns", "net").msg.empty_ns, Some(0x4000_0000));
    assert_eq!(with("cpu-cap", "cpu,fpu").msg.cpu_cap, Some(3));
    assert_eq!(with("cpu-cap", "^fpu").msg.cpu_cap, Some(!1));
    assert_eq!(with("cpu-cap", "none").msg.cpu_cap, Some(0));
    for (name, wrong) in [
        ("tree", "0"),
        ("tree", "-5"),
        ("tree", "x"),
        ("tree", "99999999999"),
        ("ghost-limit", "4T"),
        ("ghost-limit", "8G"),
        ("ghost-limit", ""),
        ("ghost-limit", "5é"),
        ("inherit-fd", "3:x"),
        ("inherit-fd", "fd[-1]:x"),
        ("inherit-fd", "fd[1]:"),
        ("join-ns", "foo:/x"),
        ("join-ns", "net:"),
        ("cgroup-root", "relative"),
        ("ext-mount-map", "a:"),
        ("veth-pair", "a"),
        ("manage-cgroups", "some"),
        ("cpu-cap", "sse"),
        ("port", "65536"),
        ("images-dir", ""),
    ] {
        assert!(set(name, Given::Value(wrong)).is_err(), "--{name} {wrong}");
    }
}
