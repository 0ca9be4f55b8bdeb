//! Brings up a namespace's loopback interface and gives it addresses.
//!
//! Three messages of rtnetlink, so that the scene does not depend on `ip`.
//! Acts on the calling thread's network namespace and knows nothing of the
//! scene.

use std::net::IpAddr;
use std::os::fd::{AsRawFd, OwnedFd};

use anyhow::{Context, Result, bail};
use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, recv, sendto, socket,
};

/// The loopback interface is the first one of every network namespace.
const LOOPBACK: u32 = 1;

const RTM_NEWLINK: u16 = 16;
const RTM_NEWADDR: u16 = 20;
const NLM_REQUEST_ACK: u16 = 0x1 | 0x4;
const NLM_CREATE: u16 = 0x400;
const NLMSG_ERROR: u16 = 2;
const HEADER: usize = 16;

const IFF_UP: u32 = 1;
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
/// No duplicate-address detection: the address works at once.
const IFA_F_NODAD: u8 = 2;

/// A conversation with the kernel about the calling thread's namespace.
pub struct Netlink(OwnedFd);

impl Netlink {
    /// Opens the conversation.
    pub fn open() -> Result<Self> {
        let socket = socket(
            AddressFamily::Netlink,
            SockType::Raw,
            SockFlag::SOCK_CLOEXEC,
            SockProtocol::NetlinkRoute,
        )
        .context("open a netlink socket")?;
        Ok(Self(socket))
    }

    /// Brings the loopback interface up.
    pub fn loopback_up(&self) -> Result<()> {
        let mut body = vec![0; 4]; // family, padding, type
        body.extend_from_slice(&LOOPBACK.to_ne_bytes());
        body.extend_from_slice(&IFF_UP.to_ne_bytes());
        body.extend_from_slice(&IFF_UP.to_ne_bytes()); // which flags to change
        self.request(RTM_NEWLINK, 0, &body)
            .context("bring the loopback interface up")
    }

    /// Gives the loopback interface one more address.
    pub fn add_to_loopback(&self, address: IpAddr) -> Result<()> {
        let (family, bytes) = match address {
            IpAddr::V4(v4) => (AddressFamily::Inet, v4.octets().to_vec()),
            IpAddr::V6(v6) => (AddressFamily::Inet6, v6.octets().to_vec()),
        };
        let mut body = vec![family as u8, (bytes.len() * 8) as u8, IFA_F_NODAD, 0];
        body.extend_from_slice(&LOOPBACK.to_ne_bytes());
        for attribute in [IFA_LOCAL, IFA_ADDRESS] {
            body.extend_from_slice(&(4 + bytes.len() as u16).to_ne_bytes());
            body.extend_from_slice(&attribute.to_ne_bytes());
            body.extend_from_slice(&bytes);
        }
        self.request(RTM_NEWADDR, NLM_CREATE, &body)
            .with_context(|| format!("add {address} to the loopback interface"))
    }

    fn request(&self, kind: u16, flags: u16, body: &[u8]) -> Result<()> {
        let mut message = Vec::with_capacity(HEADER + body.len());
        message.extend_from_slice(&((HEADER + body.len()) as u32).to_ne_bytes());
        message.extend_from_slice(&kind.to_ne_bytes());
        message.extend_from_slice(&(NLM_REQUEST_ACK | flags).to_ne_bytes());
        message.extend_from_slice(&[0; 8]); // sequence number, port
        message.extend_from_slice(body);
        sendto(
            self.0.as_raw_fd(),
            &message,
            &NetlinkAddr::new(0, 0),
            MsgFlags::empty(),
        )?;

        let mut answer = [0; 1024];
        let length = recv(self.0.as_raw_fd(), &mut answer, MsgFlags::empty())?;
        let kind = u16::from_ne_bytes([answer[4], answer[5]]);
        if length < HEADER + 4 || kind != NLMSG_ERROR {
            bail!("the kernel answered with message type {kind}, {length} bytes");
        }
        // The acknowledgement is an "error" of zero.
        match i32::from_ne_bytes([answer[16], answer[17], answer[18], answer[19]]) {
            0 => Ok(()),
            code => Err(Errno::from_raw(-code).into()),
        }
    }
}
