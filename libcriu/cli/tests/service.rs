//! `criu service`: its life, and what a client without rights gets.

mod support;

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use criu_images::messages::{CriuOpts, CriuReq, CriuReqType, CriuResp};
use support::{CRIU, Client, NOBODY, Victim, may_dump, req, with};

/// A running service; it ends with the test.
struct Service {
    dir: tempfile::TempDir,
    child: Child,
}

impl Service {
    fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        // Anybody may reach the socket.
        fs::set_permissions(dir.path(), Permissions::from_mode(0o755)).unwrap();
        let child = Command::new(CRIU)
            .args(["--no-default-config", "service", "-o", "service.log", "-v4", "-W"])
            .arg(dir.path())
            .arg("--address")
            .arg(dir.path().join("socket"))
            .env_remove("CRIU_CONFIG_FILE")
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        let service = Service { dir, child };
        wait_for("the service listens", || Client::connect(&service.socket()).is_ok());
        service
    }

    fn socket(&self) -> PathBuf {
        self.dir.path().join("socket")
    }

    fn end(&mut self) -> Option<i32> {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        self.child.wait().unwrap().code()
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn wait_for(what: &str, done: impl Fn() -> bool) {
    for _ in 0..500 {
        if done() {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("{what}: not within 5 s");
}

/// Asks as nobody: the credentials of a thread are those that the kernel notes at connect.
fn ask_as_nobody(socket: &Path, request: CriuReq) -> CriuResp {
    let socket = socket.to_owned();
    std::thread::spawn(move || {
        let (uid, gid) = (rustix::process::Uid::from_raw(NOBODY), rustix::process::Gid::from_raw(NOBODY));
        rustix::thread::set_thread_groups(&[]).unwrap();
        rustix::thread::set_thread_res_gid(gid, gid, gid).unwrap();
        rustix::thread::set_thread_res_uid(uid, uid, uid).unwrap();
        Client::connect(&socket).unwrap().ask(&request, |_| true).0
    })
    .join()
    .unwrap()
}

fn images(owner: u32) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    chown(dir.path(), Some(owner), Some(owner)).unwrap();
    dir
}

fn by_path(dir: &tempfile::TempDir) -> CriuOpts {
    CriuOpts { images_dir_fd: -1, images_dir: Some(dir.path().to_string_lossy().into()), ..Default::default() }
}

#[test]
fn it_serves_many_and_takes_its_socket_along() {
    let mut service = Service::start();
    let clients: Vec<Client> = (0..8).map(|_| Client::connect(&service.socket()).unwrap()).collect();
    for _ in 0..2 {
        for c in &clients {
            assert!(c.ask(&CriuReq { keep_open: Some(true), ..req(CriuReqType::Version) }, |_| true).0.success);
        }
    }
    drop(clients);
    assert_eq!(fs::metadata(service.socket()).unwrap().mode() & 0o777, 0o666);
    assert_eq!(service.end(), Some(0));
    assert!(!service.socket().exists());
}

#[test]
fn a_stale_socket_is_replaced_and_a_live_one_is_not() {
    let mut first = Service::start();
    let second = |address: &Path| {
        Command::new(CRIU).args(["service", "--address"]).arg(address).stderr(Stdio::null()).spawn().unwrap()
    };
    assert_eq!(second(&first.socket()).wait().unwrap().code(), Some(1), "somebody listens there");
    assert!(Client::connect(&first.socket()).is_ok());
    first.child.kill().unwrap();
    first.child.wait().unwrap();
    let mut next = second(&first.socket());
    wait_for("the next service listens", || Client::connect(&first.socket()).is_ok());
    next.kill().unwrap();
    next.wait().unwrap();
}

#[test]
fn a_daemon_writes_its_pid() {
    let dir = tempfile::tempdir().unwrap();
    let status = Command::new(CRIU)
        .args(["--no-default-config", "service", "-d", "--pidfile", "pid", "-W"])
        .arg(dir.path())
        .arg("--address")
        .arg(dir.path().join("socket"))
        .status()
        .unwrap();
    assert!(status.success());
    let pid = || fs::read_to_string(dir.path().join("pid")).ok()?.parse::<i32>().ok();
    wait_for("the pid file", || pid().is_some());
    let c = Client::connect(&dir.path().join("socket")).unwrap();
    assert!(c.ask(&req(CriuReqType::Version), |_| true).0.success);
    let pid = rustix::process::Pid::from_raw(pid().unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    wait_for("the daemon takes its socket along", || !dir.path().join("socket").exists());
}

#[test]
fn root_dumps_through_the_service() {
    if let Err(why) = may_dump() {
        return eprintln!("skipped: {why}");
    }
    let service = Service::start();
    let victim = Victim::new();
    let dir = images(0);
    let o = CriuOpts { pid: Some(victim.pid()), leave_running: Some(true), ..by_path(&dir) };
    let client = Client::connect(&service.socket()).unwrap();
    let (r, _) = client.ask(&with(CriuReqType::Dump, o), |_| true);
    assert!(r.success, "{r:?}");
    assert!(victim.is_unharmed());
}

#[test]
fn a_service_makes_nobody_its_clients_child() {
    let service = Service::start();
    let dir = images(0);
    let client = Client::connect(&service.socket()).unwrap();
    let o = CriuOpts { rst_sibling: Some(true), ..by_path(&dir) };
    let (r, _) = client.ask(&with(CriuReqType::Restore, o), |_| true);
    assert!(!r.success && r.cr_errmsg.unwrap().starts_with("rst_sibling: "));
    let client = Client::connect(&service.socket()).unwrap();
    let o = CriuOpts { exec_cmd: vec!["/bin/true".into()], ..by_path(&dir) };
    let (r, _) = client.ask(&with(CriuReqType::Restore, o), |_| true);
    assert!(!r.success && r.cr_errmsg.unwrap().starts_with("exec_cmd: "));
}

#[test]
fn nobody_gets_nothing_that_is_not_his() {
    if let Err(why) = may_dump() {
        return eprintln!("skipped: {why}");
    }
    let service = Service::start();
    assert!(ask_as_nobody(&service.socket(), req(CriuReqType::Version)).success);

    // A directory of root's.
    let roots = images(0);
    let r = ask_as_nobody(&service.socket(), with(CriuReqType::Dump, by_path(&roots)));
    assert!(!r.success && r.cr_errmsg.as_ref().unwrap().contains("Permission denied"), "{r:?}");
    assert_eq!(fs::read_dir(roots.path()).unwrap().count(), 0);

    // A process of root's.
    let victim = Victim::new();
    let own = images(NOBODY);
    let o = CriuOpts { pid: Some(victim.pid()), ..by_path(&own) };
    let r = ask_as_nobody(&service.socket(), with(CriuReqType::Dump, o));
    assert!(!r.success, "{r:?}");
    assert!(victim.is_unharmed());
    assert!(!own.path().join("inventory.img").exists());
    let log = fs::metadata(own.path().join("criu.log")).unwrap();
    assert_eq!((log.uid(), log.gid()), (NOBODY, NOBODY), "what is written is the client's");

    // A config file that only root may read.
    let secret = roots.path().join("secret.conf");
    fs::write(&secret, "the-secret\n").unwrap();
    fs::set_permissions(&secret, Permissions::from_mode(0o600)).unwrap();
    let o = CriuOpts { config_file: Some(secret.to_string_lossy().into()), ..by_path(&own) };
    let r = ask_as_nobody(&service.socket(), with(CriuReqType::Dump, o));
    assert!(!r.success && !r.cr_errmsg.as_ref().unwrap().contains("the-secret"), "{r:?}");
}

/// System V semaphores of root's that nobody else may look at. They end with the test.
struct Semaphores(i32);

impl Semaphores {
    fn new() -> Self {
        // SAFETY: integers only.
        let id = unsafe { libc::semget(libc::IPC_PRIVATE, 1, 0o600) };
        assert!(id >= 0);
        Semaphores(id)
    }
}

impl Drop for Semaphores {
    fn drop(&mut self) {
        // SAFETY: the set is this test's own.
        unsafe { libc::semctl(self.0, 0, libc::IPC_RMID) };
    }
}

#[test]
fn nobody_dumps_what_is_his() {
    if let Err(why) = may_dump() {
        return eprintln!("skipped: {why}");
    }
    let _roots = Semaphores::new();
    let service = Service::start();
    let victim = Victim::nobody();
    let dir = images(NOBODY);
    let o = CriuOpts { pid: Some(victim.pid()), leave_running: Some(true), ..by_path(&dir) };
    let r = ask_as_nobody(&service.socket(), with(CriuReqType::Dump, o));
    assert!(victim.is_unharmed());
    if r.success {
        assert_eq!(fs::metadata(dir.path().join("inventory.img")).unwrap().uid(), NOBODY);
    } else {
        // What the kernel does not show to him is refused, and named.
        let why = r.cr_errmsg.unwrap();
        eprintln!("refused: {why}");
        assert!(why.contains("pid ") && !why.contains("semaphores"));
    }
}

#[test]
fn nobody_restores_no_process_of_roots() {
    if let Err(why) = may_dump() {
        return eprintln!("skipped: {why}");
    }
    let service = Service::start();
    let dir = images(0);
    let pid = {
        let victim = Victim::new();
        let o = CriuOpts { pid: Some(victim.pid()), ..by_path(&dir) };
        let client = Client::connect(&service.socket()).unwrap();
        let (r, _) = client.ask(&with(CriuReqType::Dump, o), |_| true);
        assert!(r.success, "{r:?}");
        victim.pid()
    };
    // The images become his: what is in them does not.
    chown(dir.path(), Some(NOBODY), Some(NOBODY)).unwrap();
    for file in fs::read_dir(dir.path()).unwrap() {
        chown(file.unwrap().path(), Some(NOBODY), Some(NOBODY)).unwrap();
    }
    let r = ask_as_nobody(&service.socket(), with(CriuReqType::Restore, by_path(&dir)));
    assert!(!r.success, "{r:?}");
    assert!(!Path::new(&format!("/proc/{pid}")).exists(), "nothing is left of it");
}

#[test]
fn nobody_restores_what_is_his() {
    if let Err(why) = may_dump() {
        return eprintln!("skipped: {why}");
    }
    let service = Service::start();
    let dir = images(NOBODY);
    let pid = {
        let victim = Victim::nobody();
        let o = CriuOpts { pid: Some(victim.pid()), ..by_path(&dir) };
        let r = ask_as_nobody(&service.socket(), with(CriuReqType::Dump, o));
        if !r.success {
            return eprintln!("skipped: this kernel does not let him dump it: {}", r.cr_errmsg.unwrap());
        }
        victim.pid()
    };
    let r = ask_as_nobody(&service.socket(), with(CriuReqType::Restore, by_path(&dir)));
    if !r.success {
        return eprintln!("skipped: this kernel does not let him restore it: {}", r.cr_errmsg.unwrap());
    }
    assert_eq!(r.restore.unwrap().pid, pid);
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let field = |key: &str| status.lines().find_map(|l| l.strip_prefix(key)).unwrap().trim().to_owned();
    assert!(field("Uid:").split_whitespace().all(|u| u == NOBODY.to_string()), "{status}");
    for set in ["CapInh:", "CapPrm:", "CapEff:", "CapAmb:"] {
        assert_eq!(field(set), "0000000000000000", "{set}");
    }
    let pid = rustix::process::Pid::from_raw(pid).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
}
