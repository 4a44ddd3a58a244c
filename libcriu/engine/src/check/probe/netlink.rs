//! Just enough netlink to ask one question and read the first answer.

use std::io;

use rustix::net::netlink::{self, SocketAddrNetlink};
use rustix::net::{AddressFamily, Protocol, RecvFlags, SendFlags, SocketFlags, SocketType};

/// NETLINK_ROUTE is number 0.
pub const ROUTE: Option<Protocol> = None;
pub const SOCK_DIAG: Option<Protocol> = Some(netlink::SOCK_DIAG);
pub const NETFILTER: Option<Protocol> = Some(netlink::NETFILTER);

pub const NLM_F_REQUEST: u16 = 1;
pub const NLM_F_ACK: u16 = 4;
pub const NLM_F_DUMP: u16 = 0x300;
pub const NLM_F_CREATE_EXCL: u16 = 0x600;

const NLMSG_ERROR: u16 = 2;

/// A message under construction.
pub struct Message {
    bytes: Vec<u8>,
}

impl Message {
    /// A message of this type whose body begins with `body`.
    pub fn new(kind: u16, flags: u16, body: &[u8]) -> Self {
        let mut bytes = vec![0; 4];
        bytes.extend(kind.to_ne_bytes());
        bytes.extend((NLM_F_REQUEST | flags).to_ne_bytes());
        bytes.extend([0; 8]);
        bytes.extend(body);
        Message { bytes }
    }

    /// Appends an attribute.
    pub fn attribute(mut self, kind: u16, data: &[u8]) -> Self {
        self.push(kind, data);
        self
    }

    /// Appends an attribute that holds what `fill` appends.
    pub fn nested(mut self, kind: u16, fill: impl FnOnce(Self) -> Self) -> Self {
        let start = self.bytes.len();
        self.push(kind, &[]);
        let mut filled = fill(self);
        let len = (filled.bytes.len() - start) as u16;
        filled.bytes[start..start + 2].copy_from_slice(&len.to_ne_bytes());
        filled
    }

    /// Appends bytes that are no attribute.
    pub fn raw(mut self, data: &[u8]) -> Self {
        self.bytes.extend(data);
        self
    }

    fn push(&mut self, kind: u16, data: &[u8]) {
        self.bytes.extend((4 + data.len() as u16).to_ne_bytes());
        self.bytes.extend(kind.to_ne_bytes());
        self.bytes.extend(data);
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }

    /// Sends the message and reads the first answer: its type and all that came with it.
    ///
    /// # Errors
    /// That of the call, or the one the kernel answered.
    pub fn ask(mut self, protocol: Option<Protocol>) -> io::Result<u16> {
        let len = self.bytes.len() as u32;
        self.bytes[..4].copy_from_slice(&len.to_ne_bytes());
        let socket = rustix::net::socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, protocol)?;
        rustix::net::sendto(&socket, &self.bytes, SendFlags::empty(), &SocketAddrNetlink::new(0, 0))?;
        let mut answer = [0u8; 8192];
        let (_, len) = rustix::net::recv(&socket, &mut answer[..], RecvFlags::empty())?;
        let short = || io::Error::from(io::ErrorKind::UnexpectedEof);
        let answer = answer.get(..len.min(answer.len())).filter(|a| a.len() >= 16).ok_or_else(short)?;
        let kind = u16::from_ne_bytes([answer[4], answer[5]]);
        if kind == NLMSG_ERROR {
            let code = answer.get(16..20).ok_or_else(short)?;
            match i32::from_ne_bytes([code[0], code[1], code[2], code[3]]) {
                0 => {}
                e => return Err(io::Error::from_raw_os_error(-e)),
            }
        }
        Ok(kind)
    }
}
