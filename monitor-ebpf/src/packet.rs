//! Packets of members' sockets: where the peer, the ports and the payload are.

use core::ffi::c_void;

use aya_ebpf::{bindings::__sk_buff, helpers::generated::bpf_skb_load_bytes};

/// `IPPROTO_TCP`.
pub const TCP: u32 = 6;
/// `IPPROTO_UDP`.
pub const UDP: u32 = 17;

/// What is known about one packet.
#[derive(Clone, Copy)]
pub struct Packet {
    /// The peer, four words in network byte order.
    pub peer: [u32; 4],
    /// The peer's port.
    pub port: u16,
    /// The own port.
    pub local_port: u16,
    /// [`TCP`] or [`UDP`].
    pub protocol: u32,
    /// Where the payload begins.
    pub payload: u32,
    /// Bytes of payload.
    pub length: u32,
}

/// Reads a fixed part of a packet.
#[inline(always)]
pub fn load<T>(skb: *mut __sk_buff, at: u32) -> Option<T> {
    let mut value = core::mem::MaybeUninit::<T>::uninit();
    let to = value.as_mut_ptr().cast::<c_void>();
    // SAFETY: the helper checks the range and fills the value or fails.
    if unsafe { bpf_skb_load_bytes(skb.cast(), at, to, size_of::<T>() as u32) } != 0 {
        return None;
    }
    // SAFETY: filled; T is made of plain integers.
    Some(unsafe { value.assume_init() })
}

/// Takes a packet apart; `None` for other protocols, and behind IPv6 extension headers.
#[inline(always)]
pub fn parse(skb: *mut __sk_buff, out: bool) -> Option<Packet> {
    let first: u8 = load(skb, 0)?;
    let (peer, protocol, at) = if first >> 4 == 4 {
        let protocol: u8 = load(skb, 9)?;
        let address: u32 = load(skb, if out { 16 } else { 12 })?;
        let peer = [0, 0, 0xffff_u32.to_be(), address];
        (peer, protocol as u32, (first as u32 & 0xf) * 4)
    } else if first >> 4 == 6 {
        let protocol: u8 = load(skb, 6)?;
        let peer: [u32; 4] = load(skb, if out { 24 } else { 8 })?;
        (peer, protocol as u32, 40)
    } else {
        return None;
    };
    let ports: [u16; 2] = load(skb, at)?;
    let (source, destination) = (u16::from_be(ports[0]), u16::from_be(ports[1]));
    let payload = match protocol {
        UDP => at + 8,
        TCP => {
            let words: u8 = load(skb, at + 12)?;
            at + (words as u32 >> 4) * 4
        }
        _ => return None,
    };
    // SAFETY: a field of the context.
    let whole = unsafe { (&raw const (*skb).len).read_volatile() };
    Some(Packet {
        peer,
        port: if out { destination } else { source },
        local_port: if out { source } else { destination },
        protocol,
        payload,
        length: if whole > payload { whole - payload } else { 0 },
    })
}
