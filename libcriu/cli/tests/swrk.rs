//! `criu swrk` over a socket pair, with real operations.

mod support;

use std::fs::{self, File};

use criu_images::messages::{CriuFeatures, CriuOpts, CriuReq, CriuReqType};
use support::{Client, Victim, may_dump, opts, req, with};

#[test]
fn the_version_then_exit_with_success() {
    let (client, mut child) = Client::swrk();
    let (r, _) = client.ask(&req(CriuReqType::Version), |_| true);
    assert!(r.success);
    assert!(child.wait().unwrap().success(), "it ends by itself: the request did not ask to keep the connection");
}

#[test]
fn a_failed_request_is_the_exit_code() {
    let (client, mut child) = Client::swrk();
    let (r, _) = client.ask(&req(CriuReqType::PageServer), |_| true);
    assert!(!r.success && r.cr_errmsg.unwrap().contains("page-server: not there yet"));
    assert_eq!(child.wait().unwrap().code(), Some(1));
}

#[test]
fn it_ends_when_its_client_goes() {
    let (client, mut child) = Client::swrk();
    drop(client);
    assert!(child.wait().unwrap().success());
}

#[test]
fn features_and_check() {
    let (client, mut child) = Client::swrk();
    let features = CriuFeatures { mem_track: Some(true), lazy_pages: Some(true), pidfd_store: Some(true) };
    let ask = CriuReq { features: Some(features), keep_open: Some(true), ..req(CriuReqType::FeatureCheck) };
    let (r, _) = client.ask(&ask, |_| true);
    let f = r.features.unwrap();
    assert!(f.mem_track.is_some() && f.lazy_pages.is_some() && f.pidfd_store.is_some());
    let dir = tempfile::tempdir().unwrap();
    let images = File::open(dir.path()).unwrap();
    let (r, _) = client.ask(&with(CriuReqType::Check, opts(&images)), |_| true);
    if !r.success {
        assert!(r.cr_errmsg.unwrap().starts_with("kernel feature "));
    }
    assert!(dir.path().join("criu.log").exists());
    let _ = child.wait();
}

#[test]
fn cpuinfo() {
    let dir = tempfile::tempdir().unwrap();
    let images = File::open(dir.path()).unwrap();
    let (client, mut child) = Client::swrk();
    let (r, _) =
        client.ask(&CriuReq { keep_open: Some(true), ..with(CriuReqType::CpuinfoDump, opts(&images)) }, |_| true);
    assert!(r.success, "{r:?}");
    let (r, _) = client.ask(&with(CriuReqType::CpuinfoCheck, opts(&images)), |_| true);
    assert!(r.success, "{r:?}");
    assert!(child.wait().unwrap().success());
}

#[test]
fn wait_pid_is_for_children() {
    let (client, mut child) = Client::swrk();
    let own = std::process::id();
    let (r, _) = client.ask(&CriuReq { pid: Some(own), ..req(CriuReqType::WaitPid) }, |_| true);
    assert_eq!((r.success, r.cr_errno), (false, Some(10)), "ECHILD");
    let _ = child.wait();
}

#[test]
fn a_dump_with_notifications() {
    if let Err(why) = may_dump() {
        return eprintln!("skipped: {why}");
    }
    let dir = tempfile::tempdir().unwrap();
    let images = File::open(dir.path()).unwrap();
    let victim = Victim::new();
    let (client, mut child) = Client::swrk();
    let o = CriuOpts {
        pid: Some(victim.pid()),
        leave_running: Some(true),
        notify_scripts: Some(true),
        log_file: Some("dump.log".into()),
        log_level: Some(4),
        ..opts(&images)
    };
    // Twice on one connection.
    for keep_open in [true, false] {
        let ask = CriuReq { keep_open: Some(keep_open), ..with(CriuReqType::Dump, o.clone()) };
        let (r, stages) = client.ask(&ask, |_| true);
        assert!(r.success, "{r:?}");
        assert_eq!(r.dump.unwrap().restored, Some(false));
        assert_eq!(stages.first().map(String::as_str), Some("pre-dump"));
        assert!(stages.iter().any(|s| s == "post-dump"));
        assert!(victim.is_unharmed());
    }
    assert!(child.wait().unwrap().success());
    for file in ["inventory.img", "stats-dump", "dump.log"] {
        assert!(dir.path().join(file).exists(), "{file}");
    }
}

#[test]
fn a_callback_that_says_no_spares_the_target() {
    if let Err(why) = may_dump() {
        return eprintln!("skipped: {why}");
    }
    for stage in ["pre-dump", "post-dump"] {
        let dir = tempfile::tempdir().unwrap();
        let images = File::open(dir.path()).unwrap();
        let victim = Victim::new();
        let (client, mut child) = Client::swrk();
        let o = CriuOpts { pid: Some(victim.pid()), notify_scripts: Some(true), ..opts(&images) };
        let (r, _) = client.ask(&with(CriuReqType::Dump, o), |s| s != stage);
        assert!(!r.success && r.cr_errmsg.unwrap().contains(&format!("stage {stage}: the client's callback failed")));
        assert!(victim.is_unharmed(), "{stage}");
        assert_eq!(child.wait().unwrap().code(), Some(1));
        let log = fs::read_to_string(dir.path().join("criu.log")).unwrap();
        assert!(log.contains("Error ("), "{log}");
    }
}

#[test]
fn cancel_deadline_and_a_lost_client_spare_the_target() {
    if let Err(why) = may_dump() {
        return eprintln!("skipped: {why}");
    }
    let dir = tempfile::tempdir().unwrap();
    let images = File::open(dir.path()).unwrap();
    let victim = Victim::new();
    let o = CriuOpts {
        pid: Some(victim.pid()),
        notify_scripts: Some(true),
        deadline_ms: Some(300),
        extended: Some(true),
        ..opts(&images)
    };

    // CANCEL in place of the answer at each of the stages.
    for n in 0.. {
        let (client, mut child) = Client::swrk();
        client.send(&with(CriuReqType::Dump, CriuOpts { deadline_ms: None, leave_running: Some(true), ..o.clone() }));
        let mut seen = 0;
        let r = loop {
            let r = client.receive();
            if r.r#type != CriuReqType::Notify as i32 {
                break r;
            }
            if seen == n {
                client.send(&req(CriuReqType::Cancel));
            } else {
                client.send(&CriuReq { notify_success: Some(true), ..req(CriuReqType::Notify) });
            }
            seen += 1;
        };
        let _ = child.wait();
        if seen <= n {
            assert!(r.success, "all stages were answered: {r:?}");
            break;
        }
        assert_eq!((r.success, r.cr_errno), (false, Some(125)), "ECANCELED: {r:?}");
        assert!(r.error.is_some(), "an extended client gets the parts of the error");
        assert!(victim.is_unharmed());
    }

    // No answer until the deadline.
    let (client, mut child) = Client::swrk();
    client.send(&with(CriuReqType::Dump, o.clone()));
    let r = loop {
        let r = client.receive();
        if r.r#type != CriuReqType::Notify as i32 {
            break r;
        }
    };
    assert_eq!((r.success, r.cr_errno), (false, Some(110)), "ETIMEDOUT: {r:?}");
    let _ = child.wait();
    assert!(victim.is_unharmed());

    // The client goes.
    let (client, mut child) = Client::swrk();
    client.send(&with(CriuReqType::Dump, o));
    client.receive();
    drop(client);
    let _ = child.wait();
    assert!(victim.is_unharmed());
}

#[test]
fn preflight_and_messages_for_those_who_ask() {
    if let Err(why) = may_dump() {
        return eprintln!("skipped: {why}");
    }
    let dir = tempfile::tempdir().unwrap();
    let images = File::open(dir.path()).unwrap();
    let victim = Victim::new();
    let (client, mut child) = Client::swrk();
    let o = CriuOpts {
        pid: Some(victim.pid()),
        extended: Some(true),
        progress: Some(true),
        log_messages: Some(4),
        leave_running: Some(true),
        ..opts(&images)
    };
    let (r, _) = client.ask(&CriuReq { keep_open: Some(true), ..with(CriuReqType::Preflight, o.clone()) }, |_| true);
    assert!(r.success, "{r:?}");
    assert!(!dir.path().join("inventory.img").exists());
    client.send(&with(CriuReqType::Dump, o));
    let (mut lines, mut steps) = (0, 0);
    loop {
        let r = client.receive();
        lines += usize::from(r.log.is_some());
        steps += usize::from(r.progress.is_some());
        if r.r#type == CriuReqType::Dump as i32 {
            assert!(r.success, "{r:?}");
            break;
        }
    }
    assert!(lines > 0 && steps > 0);
    assert!(child.wait().unwrap().success());
}

#[test]
fn the_requests_config_file_overrides_it() {
    if let Err(why) = may_dump() {
        return eprintln!("skipped: {why}");
    }
    let dir = tempfile::tempdir().unwrap();
    let images = File::open(dir.path()).unwrap();
    let conf = dir.path().join("own.conf");
    fs::write(&conf, "log-file other.log\nlazy-pages\n").unwrap();
    let victim = Victim::new();
    let (client, _child) = Client::swrk();
    let o = CriuOpts {
        pid: Some(victim.pid()),
        log_file: Some("mine.log".into()),
        config_file: Some(conf.to_string_lossy().into()),
        ..opts(&images)
    };
    let (r, _) = client.ask(&with(CriuReqType::Dump, o), |_| true);
    assert!(!r.success && r.cr_errmsg.as_ref().unwrap().starts_with("--lazy-pages"), "{r:?}");
    assert!(dir.path().join("other.log").exists() && !dir.path().join("mine.log").exists());
    assert!(victim.is_unharmed());
}
