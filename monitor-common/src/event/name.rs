//! Name family: what a member looks up, what it is answered, what name it tells a TLS server, and
//! what host it asks a proxy for.

use super::Header;
use crate::{
    assert_layout,
    endpoint::Address,
    limits::{EVENT_ADDRESSES, EVENT_NAME},
};

/// A DNS query. The header names the process that the socket was made by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct QueryEvent {
    /// Who.
    pub header: Header,
    /// The resolver.
    pub resolver: Address,
    /// Cookie of the socket.
    pub cookie: u64,
    /// [`crate::hash::component`] of the name.
    pub hash: u64,
    /// The resolver's port, host byte order.
    pub port: u16,
    /// DNS type that is asked for (1 A, 28 AAAA, …).
    pub qtype: u16,
    /// IP protocol number.
    pub protocol: u8,
    /// 4 or 6.
    pub ip: u8,
    /// Bytes of [`Self::name`] that count.
    pub name_length: u16,
    /// The name in lower case, labels separated by dots, none at the end; a name with a dot inside
    /// a label is not read at all. Other bytes are as the question has them: escape them.
    pub name: [u8; EVENT_NAME],
}
assert_layout!(QueryEvent, 120 + EVENT_NAME);

/// An address that an answer gave.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Answered {
    /// IPv4 mapped.
    pub address: Address,
    /// Seconds that it may be kept.
    pub ttl: u32,
    /// Always zero.
    pub zero: u32,
}
assert_layout!(Answered, 24);

/// A DNS answer that reached the member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct AnswerEvent {
    /// The question, with the resolver that answered.
    pub query: QueryEvent,
    /// DNS response code.
    pub code: u16,
    /// Addresses that count in [`Self::addresses`].
    pub count: u16,
    /// Addresses in the answer altogether.
    pub total: u16,
    /// Always zero.
    pub zero: u16,
    /// The addresses.
    pub addresses: [Answered; EVENT_ADDRESSES],
}
assert_layout!(AnswerEvent, 120 + EVENT_NAME + 8 + 24 * EVENT_ADDRESSES);

/// Bits of [`HelloEvent::flags`].
pub mod hello {
    /// The server name is encrypted (ECH is offered): the name seen is only the outer one.
    pub const ENCRYPTED: u8 = 1;
    /// The hello did not fit into the first segment; what follows was not looked at.
    pub const CUT: u8 = 2;
}

/// Bits of [`HelloEvent::flags`] of a request to an HTTP proxy.
pub mod request {
    /// A tunnel is asked for (RFC 9110, CONNECT); otherwise the request names its target in full
    /// (RFC 9112, absolute form).
    pub const TUNNEL: u8 = 1;
    /// The target is `https`; otherwise `http`. Not with [`TUNNEL`].
    pub const HTTPS: u8 = 2;
}

/// The beginning of a TLS connection by a member, or its request to an HTTP proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct HelloEvent {
    /// Whose.
    pub header: Header,
    /// The peer's address.
    pub address: Address,
    /// Cookie of the socket.
    pub cookie: u64,
    /// [`crate::hash::component`] of the name; 0 without one.
    pub hash: u64,
    /// The peer's port, host byte order.
    pub port: u16,
    /// Bits of [`hello`], or of [`request`].
    pub flags: u8,
    /// IP protocol number.
    pub protocol: u8,
    /// 4 or 6.
    pub ip: u8,
    /// Always zero.
    pub zero: u8,
    /// Bytes of [`Self::name`] that count; 0 without a server name, or where the host of a request
    /// could not be seen.
    pub name_length: u16,
    /// The server name, or host and port of a request, in lower case, otherwise as sent: escape it.
    pub name: [u8; EVENT_NAME],
}
assert_layout!(HelloEvent, 120 + EVENT_NAME);
