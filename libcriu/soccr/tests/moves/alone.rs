//! Connections made from nothing, in every state, toward a peer that does not exist: what was set is what is read back.

use std::io::Read;
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsFd;

use criu_soccr::{Connection, Data, FLAG_PENDING_ERROR, FLAG_WINDOW, Paused, State};

use crate::Outcome;
use crate::net::{FAMILIES, Family, Net};

type Test = (&'static str, fn() -> Outcome);

pub const TESTS: &[Test] = &[
    ("alone::every_state_is_read_back_as_it_was_set", every_state),
    ("alone::large_queues_do_not_need_large_buffers", large_queues),
    ("alone::a_pair_from_nothing_talks", pair),
    ("alone::the_rest_of_a_closed_connection", closed),
    ("alone::an_error_not_seen_yet", pending_error),
    ("alone::a_socket_bound_to_a_device", bound_to_device),
];

fn pattern(len: usize, seed: usize) -> Vec<u8> {
    (0..len).map(|i| ((i * 31 + seed) % 251) as u8).collect()
}

/// Numbers near the wrap of sequence numbers, all options, a peer behind veth that no host answers for.
pub fn example(net: &Net, family: Family, state: State, queues: [usize; 3]) -> Connection {
    let [unread, unacknowledged, unsent] = queues;
    let (ours, theirs) = net.addresses(family);
    let nobody = match theirs.to_string().strip_suffix('2') {
        Some(stem) => format!("{stem}9").parse().unwrap(),
        None => theirs,
    };
    let inq_seq = 5u32.wrapping_add(u32::from(state.fin_received()));
    let data = Data {
        state: state as u32,
        inq_len: unread as u32,
        inq_seq,
        outq_len: (unacknowledged + unsent) as u32,
        outq_seq: 70_000,
        unsq_len: unsent as u32,
        opt_mask: 7,
        mss_clamp: 1400,
        snd_wscale: 3,
        rcv_wscale: 9,
        timestamp: 0x7000_0000,
        flags: FLAG_WINDOW,
        snd_wl1: inq_seq.wrapping_sub(3),
        snd_wnd: 30_000,
        max_window: 60_000,
        rcv_wnd: 40_000,
        rcv_wup: inq_seq.wrapping_sub(1),
    };
    Connection {
        data,
        local: SocketAddr::new(ours, 4001),
        peer: SocketAddr::new(nobody, 4002),
        received: pattern(unread, 1),
        sent: pattern(unacknowledged + unsent, 2),
    }
}

/// The timestamp's clock runs; everything else has to be equal.
fn assert_same(read: &Connection, set: &Connection, what: &str) {
    let elapsed = read.data.timestamp.wrapping_sub(set.data.timestamp);
    assert!(elapsed < 60_000, "{what}: the clock moved by {elapsed}");
    let mut read = read.clone();
    read.data.timestamp = set.data.timestamp;
    // An acknowledgement may have gone out meanwhile; it announces a window.
    if read.data.rcv_wup == read.data.inq_seq {
        (read.data.rcv_wup, read.data.rcv_wnd) = (set.data.rcv_wup, set.data.rcv_wnd);
    }
    assert_eq!(read.data, set.data, "{what}");
    assert_eq!(&read, set, "{what}");
}

fn every_state() -> Outcome {
    let net = Net::veth()?;
    let states = [
        (State::Established, [1000, 2000, 500]),
        (State::Established, [0, 0, 70_000]),
        (State::CloseWait, [1000, 2000, 500]),
        (State::CloseWait, [0, 0, 0]),
        (State::FinWait1, [1000, 2000, 0]),
        (State::FinWait1, [1000, 2000, 500]),
        (State::FinWait2, [1000, 0, 0]),
        (State::Closing, [1000, 2000, 0]),
        (State::Closing, [10, 20, 30]),
        (State::LastAck, [1000, 2000, 0]),
        (State::LastAck, [1000, 2000, 500]),
    ];
    for family in FAMILIES {
        for (state, queues) in states {
            let set = example(&net, family, state, queues);
            let socket = set.socket().unwrap();
            let paused = Paused::pause(socket.as_fd()).unwrap();
            let what = format!("{family:?} {state:?} {queues:?}");
            paused.restore(&set).unwrap_or_else(|e| panic!("{what}: {e}"));
            assert_same(&paused.save().unwrap(), &set, &what);
            paused.release();
        }
    }
    Ok(())
}

fn large_queues() -> Outcome {
    let net = Net::veth()?;
    let set = example(&net, Family::V4, State::CloseWait, [9_000_000, 5_000_000, 5_000_000]);
    let socket = set.socket().unwrap();
    let size = |s: &std::os::fd::OwnedFd| rustix::net::sockopt::socket_recv_buffer_size(s).unwrap();
    let before = size(&socket);
    let paused = Paused::pause(socket.as_fd()).unwrap();
    paused.restore(&set).unwrap();
    assert_same(&paused.save().unwrap(), &set, "large");
    assert_eq!(size(&socket), before);
    paused.release();
    Ok(())
}

/// Both ends of `example`'s connection, in one namespace.
fn pair() -> Outcome {
    let net = Net::loopback()?;
    for family in FAMILIES {
        let mut a = example(&net, family, State::Established, [100, 200, 300]);
        let mut b = example(&net, family, State::Established, [50, 60, 70]);
        std::mem::swap(&mut b.local, &mut b.peer);
        // What one has sent and the other not acknowledged is not received: it has to come again.
        a.data.inq_seq = b.data.outq_seq - b.data.outq_len;
        b.data.inq_seq = a.data.outq_seq - a.data.outq_len;
        for end in [&mut a, &mut b] {
            end.data.rcv_wscale = 7;
            end.data.snd_wscale = 7;
            end.data.snd_wl1 = end.data.inq_seq;
            end.data.rcv_wup = end.data.inq_seq;
        }
        let sockets = [a.socket().unwrap(), b.socket().unwrap()];
        let paused = sockets.each_ref().map(|s| Paused::pause(s.as_fd()).unwrap());
        paused[0].restore(&a).unwrap();
        paused[1].restore(&b).unwrap();
        for end in paused {
            end.resume().unwrap();
        }
        let [mut x, mut y] = sockets.map(TcpStream::from);
        read_exactly(&mut y, &[&b.received[..], &a.sent].concat());
        read_exactly(&mut x, &[&a.received[..], &b.sent].concat());
        crate::with_peer::talk(&mut x, &mut y, 300_000);
    }
    Ok(())
}

pub fn read_exactly(stream: &mut TcpStream, want: &[u8]) {
    stream.set_read_timeout(Some(std::time::Duration::from_secs(10))).unwrap();
    let mut got = vec![0; want.len()];
    stream.read_exact(&mut got).unwrap();
    assert!(got == want, "{} bytes differ from what was sent", want.len());
}

fn closed() -> Outcome {
    let net = Net::veth()?;
    for family in FAMILIES {
        let mut set = example(&net, family, State::Close, [1000, 0, 0]);
        set.data.flags = 0;
        let socket = set.socket().unwrap();
        let paused = Paused::pause(socket.as_fd()).unwrap();
        paused.restore(&set).unwrap();
        let read = paused.save().unwrap();
        assert_eq!((read.data.state, &read.received), (7, &set.received));
        assert_eq!((read.data.inq_seq, read.local), (set.data.inq_seq, set.local));
        paused.resume().unwrap();
        let mut stream = TcpStream::from(socket);
        read_exactly(&mut stream, &set.received);
        assert_eq!(stream.read(&mut [0]).unwrap(), 0, "the stream has an end");
        drop(stream);
        // Never connected: still the same, and bound.
        set = Connection { data: Data { state: 7, ..Data::default() }, received: vec![], sent: vec![], ..set };
        let socket = set.socket().unwrap();
        let paused = Paused::pause(socket.as_fd()).unwrap();
        paused.restore(&set).unwrap();
        let read = paused.save().unwrap();
        assert_eq!((read.data.state, read.data.inq_seq, read.local), (7, 0, set.local));
        paused.resume().unwrap();
        assert_eq!(TcpStream::from(socket).read(&mut [0]).unwrap_err().kind(), std::io::ErrorKind::NotConnected);
    }
    Ok(())
}

fn pending_error() -> Outcome {
    let net = Net::veth()?;
    let mut set = example(&net, Family::V4, State::Close, [1000, 0, 0]);
    set.data.flags = FLAG_PENDING_ERROR;
    let socket = set.socket().unwrap();
    let paused = Paused::pause(socket.as_fd()).unwrap();
    paused.restore(&set).unwrap();
    let read = paused.save().unwrap();
    assert_eq!((read.data.state, read.data.flags, &read.received), (7, FLAG_PENDING_ERROR, &set.received));
    paused.resume().unwrap();
    let mut stream = TcpStream::from(socket);
    read_exactly(&mut stream, &set.received);
    assert_eq!(stream.read(&mut [0]).unwrap_err().kind(), std::io::ErrorKind::ConnectionReset);
    Ok(())
}

fn bound_to_device() -> Outcome {
    let net = Net::veth()?;
    for family in FAMILIES {
        let set = example(&net, family, State::CloseWait, [10, 20, 30]);
        let socket = set.socket().unwrap();
        rustix::net::sockopt::set_socket_reuseaddr(&socket, true).unwrap();
        bind_to_device(&socket, b"v0");
        let paused = Paused::pause(socket.as_fd()).unwrap();
        paused.restore(&set).unwrap();
        assert_same(&paused.save().unwrap(), &set, "bound to a device");
        paused.release();
    }
    Ok(())
}

fn bind_to_device(socket: &std::os::fd::OwnedFd, name: &[u8]) {
    use std::os::fd::AsRawFd;
    let (at, len) = (name.as_ptr().cast(), name.len() as u32);
    // SAFETY: `name` is readable for `len` bytes.
    let r = unsafe { libc::setsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, libc::SO_BINDTODEVICE, at, len) };
    assert_eq!(r, 0);
}
