//! Connections moved between sockets while the peer is alive. It must see no reset, no byte twice and no gap.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use criu_soccr::{Connection, Paused, State};
use rustix::net::sockopt;

use crate::Outcome;
use crate::net::{FAMILIES, Family, Net};

type Test = (&'static str, fn() -> Outcome);

pub const TESTS: &[Test] = &[
    ("with_peer::moved_with_unread_data_both_ways", unread),
    ("with_peer::moved_with_data_in_flight_both_ways", in_flight),
    ("with_peer::moved_with_more_written_than_the_peer_takes", unsent),
    ("with_peer::a_shut_window_opens_after_the_move", window_opens),
    ("with_peer::half_closed_connections_finish", half_closed),
    ("with_peer::a_close_under_way_finishes", closing),
    ("with_peer::a_connect_under_way_finishes", connecting),
    ("with_peer::what_was_closed_or_reset_can_be_read", over),
    ("with_peer::looking_changes_nothing", looking),
];

/// Sends `len` bytes each way at once and compares them.
pub fn talk(a: &mut TcpStream, b: &mut TcpStream, len: usize) {
    let bytes = pattern(len, 0);
    std::thread::scope(|scope| {
        for stream in [&*a, &*b] {
            let (mut out, mut incoming) = (stream.try_clone().unwrap(), stream.try_clone().unwrap());
            let bytes = &bytes;
            scope.spawn(move || out.write_all(bytes).unwrap());
            scope.spawn(move || expect(&mut incoming, bytes));
        }
    });
}

fn pattern(len: usize, seed: usize) -> Vec<u8> {
    (0..len).map(|i| ((i * 7 + seed) % 253) as u8).collect()
}

fn expect(stream: &mut TcpStream, bytes: &[u8]) {
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let mut got = vec![0; bytes.len()];
    stream.read_exact(&mut got).unwrap();
    assert!(got == bytes, "what arrived is not what was sent");
}

fn expect_end(stream: &mut TcpStream) {
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    assert_eq!(stream.read(&mut [0; 8]).unwrap(), 0, "the stream has an end");
}

/// Segment size that the kernel sends with.
fn segment_bytes(stream: &TcpStream) -> u32 {
    sockopt_u32(stream, libc::TCP_MAXSEG)
}

fn sockopt_u32(stream: &TcpStream, name: i32) -> u32 {
    use std::os::fd::AsRawFd;
    let (mut value, mut len) = (0u32, 4);
    // SAFETY: `value` is writable for `len` bytes.
    let r =
        unsafe { libc::getsockopt(stream.as_raw_fd(), libc::IPPROTO_TCP, name, (&raw mut value).cast(), &raw mut len) };
    assert_eq!(r, 0);
    value
}

fn restored(connection: &Connection) -> TcpStream {
    let socket = connection.socket().unwrap();
    let paused = Paused::pause(socket.as_fd()).unwrap();
    paused.restore(connection).unwrap_or_else(|e| panic!("{e}"));
    paused.resume().unwrap();
    TcpStream::from(socket)
}

/// The same connection on another socket.
fn moved(stream: TcpStream) -> (TcpStream, Connection) {
    let paused = Paused::pause(stream.as_fd()).unwrap();
    let connection = paused.save().unwrap();
    paused.release();
    drop(stream);
    (restored(&connection), connection)
}

/// Waits until the socket of `stream` is what `is` says.
fn until(stream: &TcpStream, what: &str, is: impl Fn(&Connection) -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let paused = Paused::pause(stream.as_fd()).unwrap();
        let now = paused.save();
        paused.resume_quietly().unwrap();
        if now.as_ref().is_ok_and(&is) {
            return;
        }
        assert!(Instant::now() < deadline, "not {what} in time");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn in_state(stream: &TcpStream, state: State) {
    until(stream, &format!("{state:?}"), |c| c.data.state == state as u32);
}

fn everywhere(test: impl Fn(&Net, Family, bool)) -> Outcome {
    for veth in [false, true] {
        // Each in namespaces of its own.
        let net = if veth { Net::veth()? } else { Net::loopback()? };
        for family in FAMILIES {
            for client in [true, false] {
                test(&net, family, client);
            }
        }
    }
    Ok(())
}

fn unread() -> Outcome {
    everywhere(|net, family, client| {
        let (mut ours, mut peer) = net.connect(family, client);
        ours.write_all(&pattern(40_000, 1)).unwrap();
        peer.write_all(&pattern(50_000, 2)).unwrap();
        until(&ours, "received", |c| c.received.len() == 50_000 && c.sent.is_empty());
        let size = segment_bytes(&ours);
        let (mut ours, connection) = moved(ours);
        // TCP_MAXSEG, by which the size is set, ends at 32767; only loopback has larger ones.
        assert_eq!(segment_bytes(&ours), size.min(segment_bytes(&ours).max(32_000)), "the size of segments");
        assert_eq!(ours.local_addr().unwrap(), connection.local);
        assert_eq!(ours.peer_addr().unwrap(), connection.peer);
        expect(&mut peer, &pattern(40_000, 1));
        expect(&mut ours, &pattern(50_000, 2));
        talk(&mut ours, &mut peer, 2_000_000);
        drop(ours);
        expect_end(&mut peer);
    })
}

fn in_flight() -> Outcome {
    let net = Net::veth()?;
    for family in FAMILIES {
        let (mut ours, mut peer) = net.connect(family, true);
        net.cable(false);
        ours.write_all(&pattern(30_000, 1)).unwrap();
        peer.write_all(&pattern(30_000, 2)).unwrap();
        until(&ours, "in flight", |c| c.sent.len() == 30_000 && c.data.unsq_len > 0 && c.data.unsq_len < 30_000);
        let (mut ours, _) = moved(ours);
        net.cable(true);
        expect(&mut peer, &pattern(30_000, 1));
        expect(&mut ours, &pattern(30_000, 2));
        talk(&mut ours, &mut peer, 100_000);
    }
    Ok(())
}

/// Writes until nothing more goes, and returns how much went.
fn stuff(stream: &mut TcpStream, seed: usize) -> usize {
    let bytes = pattern(64 << 20, seed);
    let mut done = 0;
    stream.set_nonblocking(true).unwrap();
    let mut quiet = 0;
    while quiet < 10 {
        match stream.write(&bytes[done..]) {
            Ok(n) => (done, quiet) = (done + n, 0),
            Err(e) if e.kind() == ErrorKind::WouldBlock => {
                quiet += 1;
                std::thread::sleep(Duration::from_millis(10));
            }
            Err(e) => panic!("{e}"),
        }
    }
    stream.set_nonblocking(false).unwrap();
    done
}

fn unsent() -> Outcome {
    everywhere(|net, family, client| {
        let (mut ours, mut peer) = net.connect(family, client);
        sockopt::set_socket_recv_buffer_size(&peer, 30_000).unwrap();
        let len = stuff(&mut ours, 3);
        let (ours, connection) = moved(ours);
        assert!(connection.data.unsq_len > 0, "{:?}", connection.data);
        expect(&mut peer, &pattern(64 << 20, 3)[..len]);
        drop(ours);
        expect_end(&mut peer);
    })
}

fn window_opens() -> Outcome {
    let net = Net::veth()?;
    for family in FAMILIES {
        let (ours, mut peer) = net.connect(family, true);
        sockopt::set_socket_recv_buffer_size(&ours, 20_000).unwrap();
        let len = stuff(&mut peer, 4);
        net.cable(false);
        let (mut ours, connection) = moved(ours);
        assert!(connection.data.inq_len > 0 && len > connection.received.len());
        net.cable(true);
        expect(&mut ours, &pattern(64 << 20, 4)[..len]);
        talk(&mut ours, &mut peer, 100_000);
    }
    Ok(())
}

fn half_closed() -> Outcome {
    everywhere(|net, family, client| {
        let (mut ours, mut peer) = net.connect(family, client);
        peer.write_all(b"last words").unwrap();
        peer.shutdown(Shutdown::Write).unwrap();
        in_state(&ours, State::CloseWait);
        ours.write_all(b"heard").unwrap();
        until(&ours, "acknowledged", |c| c.sent.is_empty());
        let (mut ours, connection) = moved(ours);
        assert_eq!(connection.received, b"last words");
        expect(&mut ours, b"last words");
        expect_end(&mut ours);
        ours.write_all(b", and answered").unwrap();
        expect(&mut peer, b"heard, and answered");
        drop(ours);
        expect_end(&mut peer);

        let (mut ours, mut peer) = net.connect(family, client);
        ours.write_all(b"last words").unwrap();
        ours.shutdown(Shutdown::Write).unwrap();
        peer.write_all(b"heard").unwrap();
        in_state(&ours, State::FinWait2);
        let (mut ours, _) = moved(ours);
        in_state(&ours, State::FinWait2);
        peer.write_all(b", and answered").unwrap();
        expect(&mut ours, b"heard, and answered");
        expect(&mut peer, b"last words");
        expect_end(&mut peer);
        drop(peer);
        expect_end(&mut ours);
        in_state(&ours, State::Close);
    })
}

fn closing() -> Outcome {
    let net = Net::veth()?;
    for family in FAMILIES {
        // FIN_WAIT1, data and FIN in flight; the peer has not closed, or has.
        for peer_closes in [false, true] {
            let (mut ours, mut peer) = net.connect(family, true);
            net.cable(false);
            ours.write_all(&pattern(30_000, 5)).unwrap();
            ours.shutdown(Shutdown::Write).unwrap();
            if peer_closes {
                peer.write_all(b"bye").unwrap();
                peer.shutdown(Shutdown::Write).unwrap();
            }
            in_state(&ours, State::FinWait1);
            let (mut ours, connection) = moved(ours);
            assert_eq!(connection.data.state, State::FinWait1 as u32);
            net.cable(true);
            expect(&mut peer, &pattern(30_000, 5));
            expect_end(&mut peer);
            if !peer_closes {
                in_state(&ours, State::FinWait2);
                peer.write_all(b"bye").unwrap();
                drop(peer);
            }
            expect(&mut ours, b"bye");
            expect_end(&mut ours);
            in_state(&ours, State::Close);
        }
        // LAST_ACK, data and FIN in flight.
        let (mut ours, mut peer) = net.connect(family, false);
        peer.shutdown(Shutdown::Write).unwrap();
        in_state(&ours, State::CloseWait);
        net.cable(false);
        ours.write_all(&pattern(30_000, 6)).unwrap();
        ours.shutdown(Shutdown::Write).unwrap();
        in_state(&ours, State::LastAck);
        let (mut ours, _) = moved(ours);
        in_state(&ours, State::LastAck);
        net.cable(true);
        expect(&mut peer, &pattern(30_000, 6));
        expect_end(&mut peer);
        expect_end(&mut ours);
        in_state(&ours, State::Close);
    }
    Ok(())
}

fn connecting() -> Outcome {
    let net = Net::veth()?;
    for family in FAMILIES {
        let (_, theirs) = net.addresses(family);
        let listener = net.at_peer(|| TcpListener::bind(SocketAddr::new(theirs.to_canonical(), 0)).unwrap());
        let to = SocketAddr::new(theirs, listener.local_addr().unwrap().port());
        net.cable(false);
        let socket = rustix::net::socket_with(
            if to.is_ipv4() { rustix::net::AddressFamily::INET } else { rustix::net::AddressFamily::INET6 },
            rustix::net::SocketType::STREAM,
            rustix::net::SocketFlags::NONBLOCK,
            None,
        )
        .unwrap();
        assert_eq!(rustix::net::connect(&socket, &to), Err(rustix::io::Errno::INPROGRESS));
        let (mut ours, connection) = moved(socket.into());
        assert_eq!((connection.state().unwrap(), connection.peer), (State::SynSent, to));
        in_state(&ours, State::SynSent);
        net.cable(true);
        let (mut peer, from) = listener.accept().unwrap();
        in_state(&ours, State::Established);
        assert_eq!((from.ip(), from.port()), (connection.local.ip().to_canonical(), connection.local.port()));
        talk(&mut ours, &mut peer, 100_000);
    }
    Ok(())
}

fn over() -> Outcome {
    everywhere(|net, family, client| {
        // Closed by both, this side first: the kernel keeps TIME_WAIT for the same addresses.
        let (ours, mut peer) = net.connect(family, client);
        ours.shutdown(Shutdown::Write).unwrap();
        peer.write_all(b"rest").unwrap();
        drop(peer);
        in_state(&ours, State::Close);
        let (mut ours, connection) = moved(ours);
        assert_eq!(connection.received, b"rest");
        expect(&mut ours, b"rest");
        expect_end(&mut ours);
        assert_eq!(ours.local_addr().unwrap(), connection.local);

        // Reset by the peer, which has not read all.
        let (mut ours, mut peer) = net.connect(family, client);
        ours.write_all(b"ignored").unwrap();
        peer.write_all(b"rest").unwrap();
        until(&ours, "acknowledged", |c| c.sent.is_empty() && c.received == b"rest");
        drop(peer);
        in_state(&ours, State::Close);
        let (mut ours, connection) = moved(ours);
        assert_eq!((connection.data.flags, &connection.received[..]), (criu_soccr::FLAG_PENDING_ERROR, &b"rest"[..]));
        expect(&mut ours, b"rest");
        assert_eq!(ours.read(&mut [0]).unwrap_err().kind(), ErrorKind::ConnectionReset);
        expect_end(&mut ours);
    })
}

fn looking() -> Outcome {
    everywhere(|net, family, client| {
        let (mut ours, mut peer) = net.connect(family, client);
        sockopt::set_socket_reuseaddr(&ours, client).unwrap();
        peer.write_all(b"before").unwrap();
        until(&ours, "received", |c| c.received == b"before");
        looked_at(&ours).resume().unwrap();
        looked_at(&ours).resume_quietly().unwrap();
        drop(looked_at(&ours));
        assert_eq!(sockopt::socket_reuseaddr(&ours).unwrap(), client);
        assert_eq!(sockopt_u32(&ours, 19), 0, "not in repair mode");
        expect(&mut ours, b"before");
        talk(&mut ours, &mut peer, 100_000);
    })
}

/// Paused, and read twice the same.
fn looked_at(stream: &TcpStream) -> Paused<'_> {
    let paused = Paused::pause(stream.as_fd()).unwrap();
    let [first, mut second] = [paused.save().unwrap(), paused.save().unwrap()];
    second.data.timestamp = first.data.timestamp;
    assert_eq!(first, second);
    paused
}
