//! The server over a socket pair, as a client meets it.

use super::*;
use criu_images::messages::{CriuFeatures, CriuOpts};
use prost::Message;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};
use std::fs::File;
use std::os::fd::{AsRawFd, OwnedFd};
use std::thread::JoinHandle;

/// A client with a server in a thread of its own.
struct Client {
    fd: OwnedFd,
    server: JoinHandle<Result<()>>,
}

impl Client {
    fn new() -> Self {
        let (fd, server) =
            rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).unwrap();
        Client { fd, server: std::thread::spawn(move || serve(server)) }
    }

    fn send(&self, bytes: &[u8]) {
        rustix::net::send(&self.fd, bytes, SendFlags::NOSIGNAL).unwrap();
    }

    fn recv(&self) -> CriuResp {
        let mut buffer = vec![0; 1 << 17];
        let (_, len) = rustix::net::recv(&self.fd, &mut buffer[..], RecvFlags::empty()).unwrap();
        assert!(len > 0, "the server closed the connection");
        CriuResp::decode(&buffer[..len]).unwrap()
    }

    fn ask(&self, request: &CriuReq) -> CriuResp {
        self.send(&request.encode_to_vec());
        self.recv()
    }

    fn end(self) -> Result<()> {
        drop(self.fd);
        self.server.join().expect("the server never panics")
    }
}

fn req(kind: CriuReqType) -> CriuReq {
    CriuReq { r#type: kind as i32, ..Default::default() }
}

fn opts() -> CriuOpts {
    CriuOpts { images_dir_fd: -1, ..Default::default() }
}

#[test]
fn version_is_that_of_the_contract() {
    let c = Client::new();
    let r = c.ask(&req(CriuReqType::Version));
    assert!(r.success);
    assert_eq!(r.r#type, CriuReqType::Version as i32);
    let v = r.version.unwrap();
    assert_eq!((v.major_number, v.minor_number), (4, 2));
    c.end().unwrap();
}

#[test]
fn keep_open_serves_on() {
    let c = Client::new();
    for _ in 0..3 {
        assert!(c.ask(&CriuReq { keep_open: Some(true), ..req(CriuReqType::Version) }).success);
    }
    c.end().unwrap();
}

#[test]
fn malformed_requests_are_answered_clearly() {
    for bytes in [&b"\xff\xff\xff"[..], b"x", &[0x12, 0x7f, 1], &[0; 700]] {
        let c = Client::new();
        c.send(bytes);
        let r = c.recv();
        assert!(!r.success);
        assert_eq!(r.r#type, CriuReqType::Empty as i32);
        assert_eq!(r.cr_errno, Some(libc::EBADRQC));
        assert!(r.cr_errmsg.unwrap().starts_with("request: "));
        assert!(c.end().is_err());
    }
}

#[test]
fn an_oversized_request_is_named_as_such() {
    let c = Client::new();
    rustix::net::sockopt::set_socket_send_buffer_size_force(&c.fd, 8 << 20)
        .or_else(|_| rustix::net::sockopt::set_socket_send_buffer_size(&c.fd, 8 << 20))
        .unwrap();
    let big = vec![0u8; MAX_REQUEST_BYTES + 1];
    match rustix::net::send(&c.fd, &big, SendFlags::NOSIGNAL | SendFlags::DONTWAIT) {
        Ok(_) => {
            let r = c.recv();
            assert!(r.cr_errmsg.unwrap().contains("more than a request may have"));
        }
        Err(e) => eprintln!("skipped: the kernel does not send a packet of that size: {e}"),
    }
    let _ = c.end();
}

#[test]
fn a_late_cancel_is_no_request() {
    let c = Client::new();
    c.send(&req(CriuReqType::Cancel).encode_to_vec());
    assert!(c.ask(&req(CriuReqType::Version)).success);
    c.end().unwrap();
}

#[test]
fn unknown_and_pointless_types_are_bad_requests() {
    for kind in [77, -1, CriuReqType::Empty as i32, CriuReqType::Notify as i32] {
        let c = Client::new();
        let r = c.ask(&CriuReq { r#type: kind, ..Default::default() });
        assert_eq!((r.success, r.r#type, r.cr_errno), (false, kind, Some(libc::EBADRQC)));
        assert!(c.end().is_err());
    }
}

#[test]
fn an_operation_needs_options_and_a_directory() {
    for kind in [CriuReqType::Dump, CriuReqType::Restore, CriuReqType::Preflight] {
        let c = Client::new();
        let r = c.ask(&req(kind));
        assert_eq!((r.success, r.cr_errno), (false, Some(libc::EBADRQC)));
        let c2 = Client::new();
        let r = c2.ask(&CriuReq { opts: Some(opts()), ..req(kind) });
        assert_eq!((r.success, r.cr_errno), (false, Some(libc::EBADRQC)));
        assert!(r.cr_errmsg.unwrap().starts_with("images_dir_fd: "));
    }
}

#[test]
fn a_log_file_with_a_slash_is_a_bad_request() {
    let dir = File::open("/tmp").unwrap();
    let c = Client::new();
    let opts = CriuOpts { images_dir_fd: dir.as_raw_fd(), log_file: Some("a/b".into()), ..opts() };
    let r = c.ask(&CriuReq { opts: Some(opts), ..req(CriuReqType::Dump) });
    assert_eq!((r.success, r.cr_errno), (false, Some(libc::EBADRQC)));
    assert!(r.error.is_none(), "structured errors are for extended clients");
}

#[test]
fn only_the_features_asked_about_are_answered() {
    let c = Client::new();
    let features = CriuFeatures { pidfd_store: Some(true), lazy_pages: Some(false), ..Default::default() };
    let r = c.ask(&CriuReq { features: Some(features), ..req(CriuReqType::FeatureCheck) });
    assert!(r.success);
    let f = r.features.unwrap();
    assert!(f.pidfd_store.is_some());
    assert_eq!((f.mem_track, f.lazy_pages), (None, None));
}
