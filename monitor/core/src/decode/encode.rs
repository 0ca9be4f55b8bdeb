//! The kernel's side for tests: events as the bytes that its programs write. Written against the
//! layouts in [`monitor_common::event`], byte by byte, independently of the reader.

use monitor_common::{
    event::{Header, accept::*, connect::ConnectEvent, flow::FlowEvent, process::*},
    limits::{EVENT_ADDRESSES, EVENT_ARGV, EVENT_NAME},
};

/// Little-endian bytes of a header; the length is filled in by [`finish`].
pub fn header(h: &Header) -> Vec<u8> {
    let mut b = vec![];
    for v in [h.time, h.start_time, h.cgroup, h.count] {
        b.extend(v.to_le_bytes());
    }
    for v in [h.tgid, h.pid, h.uid, h.policy, h.length] {
        b.extend(v.to_le_bytes());
    }
    b.extend(h.class.to_le_bytes());
    b.extend([h.kind, h.hook, h.verdict, h.flags, h.family, h.mode]);
    b.extend(h.zero.to_le_bytes());
    b.extend(h.comm);
    b
}

/// Puts the event's length where the header has it.
fn finish(mut b: Vec<u8>) -> Vec<u8> {
    let length = (b.len() as u32).to_le_bytes();
    b[48..52].copy_from_slice(&length);
    b
}

pub fn fork(e: &ForkEvent) -> Vec<u8> {
    let mut b = header(&e.header);
    b.extend(e.child_start_time.to_le_bytes());
    b.extend(e.child.to_le_bytes());
    b.extend(e.zero.to_le_bytes());
    finish(b)
}

pub fn exit(e: &ExitEvent) -> Vec<u8> {
    let mut b = header(&e.header);
    b.extend(e.status.to_le_bytes());
    b.extend(e.zero.to_le_bytes());
    finish(b)
}

pub fn phase(e: &PhaseEvent) -> Vec<u8> {
    let mut b = header(&e.header);
    b.extend(e.port.to_le_bytes());
    b.extend(e.after.to_le_bytes());
    b.extend(e.zero.to_le_bytes());
    finish(b)
}

pub fn connect(e: &ConnectEvent) -> Vec<u8> {
    let mut b = header(&e.header);
    b.extend(e.address);
    b.extend(e.cookie.to_le_bytes());
    b.extend(e.port.to_le_bytes());
    b.extend([e.protocol, e.ip]);
    b.extend(e.zero.to_le_bytes());
    finish(b)
}

pub fn open(h: &Header, inode: (u64, u64), access: u8, path: &[u8]) -> Vec<u8> {
    let mut b = header(h);
    for v in [inode.0, inode.1, 0xdead] {
        b.extend(v.to_le_bytes());
    }
    b.push(access);
    b.extend([0; 5]);
    b.extend((path.len() as u16).to_le_bytes());
    b.extend(path);
    finish(b)
}

/// A change: laid out as an open, with the action where that has its access.
pub fn change(h: &Header, inode: (u64, u64), action: u8, path: &[u8]) -> Vec<u8> {
    open(h, inode, action, path)
}

pub fn map(h: &Header, size: u64, protection: u8, shared: u8, path: &[u8]) -> Vec<u8> {
    let mut b = header(h);
    for v in [1, 2, 0xdead, size] {
        b.extend(v.to_le_bytes());
    }
    b.extend([protection, shared]);
    b.extend([0; 4]);
    b.extend((path.len() as u16).to_le_bytes());
    b.extend(path);
    finish(b)
}

pub fn facility(h: &Header, facility: u32, detail: [u32; 3]) -> Vec<u8> {
    let mut b = header(h);
    b.extend(facility.to_le_bytes());
    detail.iter().for_each(|v| b.extend(v.to_le_bytes()));
    finish(b)
}

pub fn exec(h: &Header, inode: (u64, u64), after: u16, argv: &[u8], path: &[u8]) -> Vec<u8> {
    let mut b = header(h);
    for v in [inode.0, inode.1, 0xdead] {
        b.extend(v.to_le_bytes());
    }
    b.extend(after.to_le_bytes());
    b.extend((path.len() as u16).to_le_bytes());
    b.extend((argv.len() as u16).to_le_bytes());
    b.extend([0; 2]);
    let mut room = [0xaa; EVENT_ARGV];
    room[..argv.len()].copy_from_slice(argv);
    b.extend(room);
    b.extend(path);
    finish(b)
}

pub fn caller(e: &CallerEvent) -> Vec<u8> {
    let mut b = header(&e.header);
    b.extend(e.address);
    b.extend(e.device.to_le_bytes());
    b.extend(e.inode.to_le_bytes());
    b.extend(e.port.to_le_bytes());
    b.extend(e.server.to_le_bytes());
    b.extend([e.protocol, e.ip]);
    b.extend(e.zero.to_le_bytes());
    finish(b)
}

pub fn accept(e: &AcceptEvent) -> Vec<u8> {
    let mut b = header(&e.header);
    b.extend(e.peer);
    b.extend(e.local);
    b.extend(e.cookie.to_le_bytes());
    b.extend(e.peer_port.to_le_bytes());
    b.extend(e.local_port.to_le_bytes());
    b.extend(e.peer_uid.to_le_bytes());
    b.extend([e.protocol, e.ip]);
    b.extend(e.zero);
    finish(b)
}

pub fn unix(h: &Header, place: u8, name: &[u8]) -> Vec<u8> {
    let mut b = header(h);
    for v in [1_u64, 2, 0xdead] {
        b.extend(v.to_le_bytes());
    }
    b.extend([place, 1]);
    b.extend([0; 4]);
    b.extend((name.len() as u16).to_le_bytes());
    b.extend(name);
    finish(b)
}

pub fn flow(e: &FlowEvent) -> Vec<u8> {
    let mut b = header(&e.header);
    b.extend(e.address);
    for v in [e.cookie, e.sent, e.received, e.start] {
        b.extend(v.to_le_bytes());
    }
    b.extend(e.port.to_le_bytes());
    b.extend(e.local_port.to_le_bytes());
    b.extend([e.protocol, e.ip, e.direction, e.zero]);
    finish(b)
}

/// Name as the kernel leaves it: what lies behind its length is not zero for sure.
fn name(length: u16, name: &[u8]) -> Vec<u8> {
    let mut b = length.to_le_bytes().to_vec();
    let mut room = [0xaa; EVENT_NAME];
    room[..name.len()].copy_from_slice(name);
    b.extend(room);
    b
}

pub fn query(
    h: &Header,
    peer: ([u8; 16], u16),
    qtype: u16,
    (length, text): (u16, &[u8]),
) -> Vec<u8> {
    let mut b = header(h);
    b.extend(peer.0);
    b.extend(77u64.to_le_bytes());
    b.extend(0xdeadu64.to_le_bytes());
    b.extend(peer.1.to_le_bytes());
    b.extend(qtype.to_le_bytes());
    b.extend([17, 4]);
    b.extend(name(length, text));
    finish(b)
}

pub fn answer(
    question: Vec<u8>,
    (code, count, total): (u16, u16, u16),
    given: &[([u8; 16], u32)],
) -> Vec<u8> {
    let mut b = question;
    for v in [code, count, total, 0] {
        b.extend(v.to_le_bytes());
    }
    for n in 0..EVENT_ADDRESSES {
        let (address, ttl) = given.get(n).copied().unwrap_or(([0xaa; 16], 0xaa));
        b.extend(address);
        b.extend(ttl.to_le_bytes());
        b.extend([0; 4]);
    }
    finish(b)
}

pub fn hello(h: &Header, peer: ([u8; 16], u16), flags: u8, text: &[u8]) -> Vec<u8> {
    let mut b = header(h);
    b.extend(peer.0);
    b.extend(77u64.to_le_bytes());
    b.extend(0xdeadu64.to_le_bytes());
    b.extend(peer.1.to_le_bytes());
    b.extend([flags, 6, 4, 0]);
    b.extend(name(text.len() as u16, text));
    finish(b)
}
