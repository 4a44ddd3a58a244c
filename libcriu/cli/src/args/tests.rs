use super::*;
use proptest::prelude::*;

fn settings(line: &str) -> Result<(Settings, Vec<String>)> {
    let parsed = parse(line.split_whitespace().map(str::to_owned))?;
    let mut s = Settings::new();
    parsed.apply(&mut s)?;
    Ok((s, parsed.words))
}

fn ok(line: &str) -> (Settings, Vec<String>) {
    settings(line).unwrap_or_else(|e| panic!("{line}: {e}"))
}

fn error(line: &str) -> String {
    settings(line).unwrap_err().to_string()
}

#[test]
fn values_in_all_places() {
    for line in ["dump -t 5", "dump -t5", "dump --tree 5", "dump --tree=5", "--tre 5 dump", "-st5 dump", "dump -st 5"] {
        let (s, words) = ok(line);
        assert_eq!((s.msg.pid, words), (Some(5), vec!["dump".to_owned()]), "{line}");
    }
}

#[test]
fn optional_values_only_behind_an_equals_sign() {
    let (s, words) = ok("dump --manage-cgroups full");
    assert_eq!((s.msg.manage_cgroups_mode, words.len()), (Some(6), 2));
    let (s, words) = ok("dump --manage-cgroups=full");
    assert_eq!((s.msg.manage_cgroups_mode, words.len()), (Some(4), 1));
    let (s, _) = ok("dump -x12,13");
    assert_eq!(s.msg.unix_sk_ino.len(), 2);
}

#[test]
fn verbosity_as_consumers_write_it() {
    for (line, want) in [
        ("check", None),
        ("check -v", Some(3)),
        ("check -v -v", Some(4)),
        ("check -vvvv", Some(4)),
        ("check -v4", Some(4)),
        ("check -v0", Some(0)),
        ("check -v1", Some(1)),
        ("check -verbosity=0", Some(0)),
        ("check --verbosity=1", Some(1)),
        ("check --verbosity", Some(3)),
    ] {
        assert_eq!(ok(line).0.msg.log_level, want, "{line}");
    }
}

#[test]
fn lines_of_known_consumers() {
    let (s, _) = ok("restore --root /r --restore-detached --restore-sibling --inherit-fd fd[5]:tty[88:3] \
                     --lsm-profile apparmor:lxc --external veth[eth0]:veth1@br0 -D /i -o /l/restore.log \
                     --tcp-established --file-locks --link-remap --manage-cgroups=full --ext-mount-map auto \
                     --enable-external-sharing --enable-external-masters --enable-fs hugetlbfs --enable-fs tracefs \
                     --cgroup-root /lxc --action-script /usr/share/lxc/lxc-net -v4");
    assert!(s.command.restore_detached && s.msg.rst_sibling() && s.msg.auto_ext_mnt());
    assert_eq!((s.msg.inherit_fd[0].fd, s.msg.enable_fs.len()), (5, 2));
    let (s, _) = ok("dump -t 77 -D /i --shell-job -v4 -o dump4.log -R");
    assert!(s.msg.leave_running() && s.msg.shell_job());
    let (s, words) = ok("restore -W . --shell-job --action-script /x -D /i -v1 --inherit-fd fd[3]:tmp/x \
                         --exec-cmd -- /jdk/bin/java restorewait --tree");
    assert!(s.command.exec_cmd);
    assert_eq!(words, ["restore", "/jdk/bin/java", "restorewait", "--tree"]);
    let (s, words) = ok("service --address /x -d --pidfile p");
    assert_eq!(s.msg.ps.unwrap().address.as_deref(), Some("/x"));
    assert!(s.command.restore_detached);
    assert_eq!(words, ["service"]);
}

#[test]
fn what_is_wrong_is_named() {
    for (line, want) in [
        ("dump --nope", "--nope: unrecognized option `nope`"),
        ("dump --tcp", "ambiguous"),
        ("dump -Z", "-Z: there is no such option"),
        ("dump -t", "-t: it needs a value: PID"),
        ("dump --tree", "--tree: it needs a value: PID"),
        ("dump --tree=x", "--tree: `x` is not a pid"),
        ("dump --leave-running=1", "--leave-running: it takes no value"),
        ("dump --no-leave-running", "unrecognized"),
        ("dump --no-tcp-close=1", "it takes no value"),
    ] {
        let e = error(line);
        assert!(e.contains(want), "{line}: {e}");
    }
}

#[test]
fn a_lone_dash_is_a_word() {
    assert_eq!(ok("dump - -- -t").1, ["dump", "-", "-t"]);
}

proptest! {
    #[test]
    fn any_line_is_read_or_refused(args in prop::collection::vec("-{0,2}[a-zA-Z=0-9\\[\\]:/é -]{0,12}", 0..6)) {
        if let Ok(p) = parse(args) {
            let _ = p.apply(&mut Settings::new());
        }
    }

    #[test]
    fn every_unambiguous_prefix_is_accepted(index in 0usize..85, cut in 1usize..30) {
        let spec = criu_images::options::options().nth(index).unwrap();
        let prefix: String = spec.name.chars().take(cut).collect();
        let count = criu_images::options::options()
            .flat_map(|o| {
                let no = (o.kind == OptionKind::SwitchNo).then(|| format!("no-{}", o.name));
                std::iter::once(o.name.to_owned()).chain(no)
            })
            .filter(|n| n.starts_with(&prefix))
            .count();
        let exact = criu_images::options::by_name(&prefix).is_some();
        let parsed = parse([format!("--{prefix}"), "x".to_owned()]);
        prop_assert_eq!(parsed.is_ok(), exact || count == 1, "{} {:?}", prefix, parsed.err());
    }
}
