//! What cannot be kept, and data that cannot be true.

use std::io::Write;
use std::net::{TcpListener, UdpSocket};
use std::os::fd::AsFd;

use criu_soccr::{Connection, Error, Paused, State};

use crate::alone::example;
use crate::net::{FAMILIES, Family, Net};
use crate::{Outcome, Skip};

type Test = (&'static str, fn() -> Outcome);

pub const TESTS: &[Test] = &[
    ("refused::sockets_without_a_connection", no_connection),
    ("refused::urgent_data", urgent),
    ("refused::kernel_tls", tls),
    ("refused::data_that_cannot_be_true", lies),
    ("refused::a_failed_restore_stays_silent", failed_restore),
];

fn no_connection() -> Outcome {
    let _net = Net::loopback()?;
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    assert!(matches!(Paused::pause(listener.as_fd()), Err(Error::State(10))));
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    let error = Paused::pause(udp.as_fd()).unwrap_err();
    assert!(matches!(error, Error::Call { .. }), "{error}");
    Ok(())
}

fn urgent() -> Outcome {
    let net = Net::loopback()?;
    for family in FAMILIES {
        let (ours, mut peer) = net.connect(family, true);
        peer.write_all(b"abc").unwrap();
        rustix::net::send(&peer, b"!", rustix::net::SendFlags::OOB).unwrap();
        peer.write_all(b"def").unwrap();
        std::thread::sleep(std::time::Duration::from_millis(50));
        for inline in [false, true] {
            rustix::net::sockopt::set_socket_oobinline(&ours, inline).unwrap();
            let paused = Paused::pause(ours.as_fd()).unwrap();
            let error = paused.save().unwrap_err();
            assert!(error.to_string().contains("urgent data"), "{error}");
            assert_eq!(rustix::net::sockopt::socket_oobinline(&ours).unwrap(), inline);
            paused.resume().unwrap();
        }
    }
    Ok(())
}

fn tls() -> Outcome {
    use std::os::fd::AsRawFd;
    let net = Net::loopback()?;
    let (ours, _peer) = net.connect(Family::V4, true);
    // SAFETY: the name is readable for three bytes.
    let r = unsafe { libc::setsockopt(ours.as_raw_fd(), libc::IPPROTO_TCP, libc::TCP_ULP, c"tls".as_ptr().cast(), 3) };
    if r != 0 {
        return Err(Skip(format!("no TLS in this kernel: {}", std::io::Error::last_os_error())));
    }
    let paused = Paused::pause(ours.as_fd()).unwrap();
    let error = paused.save().unwrap_err();
    assert!(error.to_string().contains("upper layer protocol"), "{error}");
    Ok(())
}

/// Restores a connection that `lie` has made impossible; whatever the answer is, it is an error and names the field.
fn refuses(net: &Net, field: &str, lie: impl Fn(&mut Connection)) {
    let mut connection = example(net, Family::V6, State::Established, [10, 10, 10]);
    lie(&mut connection);
    let socket = connection.socket().unwrap();
    let paused = Paused::pause(socket.as_fd()).unwrap();
    let error = paused.restore(&connection).unwrap_err();
    assert!(error.to_string().contains(field), "{field}: {error}");
    paused.release();
}

fn lies() -> Outcome {
    let net = Net::veth()?;
    for state in [0, 3, 10, 12, 13, u32::MAX] {
        refuses(&net, "state", |c| c.data.state = state);
    }
    refuses(&net, "inq_len", |c| c.data.inq_len = 11);
    refuses(&net, "inq_len", |c| c.received.clear());
    refuses(&net, "outq_len", |c| c.data.outq_len = u32::MAX);
    refuses(&net, "unsq_len", |c| c.data.unsq_len = 21);
    refuses(&net, "mss_clamp", |c| c.data.mss_clamp = 0);
    refuses(&net, "mss_clamp", |c| c.data.mss_clamp = 0x10000);
    refuses(&net, "snd_wscale", |c| c.data.snd_wscale = 15);
    refuses(&net, "rcv_wscale", |c| c.data.rcv_wscale = 0x10000);
    refuses(&net, "local port", |c| c.local.set_port(0));
    refuses(&net, "peer port", |c| c.peer.set_port(0));
    refuses(&net, "peer", |c| c.peer = "10.7.0.9:4002".parse().unwrap());
    refuses(&net, "peer", |c| c.peer = "[::ffff:10.7.0.9]:4002".parse().unwrap());
    refuses(&net, "outq_len", |c| c.data.state = State::FinWait2 as u32);
    refuses(&net, "outq_len", |c| c.data.state = State::SynSent as u32);
    refuses(&net, "windows", |c| c.data.max_window = c.data.snd_wnd - 1);
    refuses(&net, "windows", |c| c.data.rcv_wup = c.data.inq_seq + 1);
    refuses(&net, "local address", |c| c.local = "[fd07::77]:4001".parse().unwrap());
    Ok(())
}

/// The peer of a connection whose restore fails hears nothing: a second attempt still finds it.
fn failed_restore() -> Outcome {
    let net = Net::veth()?;
    let (ours, mut peer) = net.connect(Family::V4, true);
    let paused = Paused::pause(ours.as_fd()).unwrap();
    let connection = paused.save().unwrap();
    paused.release();
    drop(ours);
    let mut wrong = connection.clone();
    wrong.data.max_window = 0;
    let socket = wrong.socket().unwrap();
    let paused = Paused::pause(socket.as_fd()).unwrap();
    paused.restore(&wrong).unwrap_err();
    drop(paused);
    drop(socket);
    let socket = connection.socket().unwrap();
    let paused = Paused::pause(socket.as_fd()).unwrap();
    paused.restore(&connection).unwrap();
    paused.resume().unwrap();
    crate::with_peer::talk(&mut socket.into(), &mut peer, 10_000);
    Ok(())
}
