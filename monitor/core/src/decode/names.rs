//! Name family: look-ups, their answers, the names that TLS servers are called by, and the hosts that
//! proxies are asked for.

use std::net::Ipv6Addr;

use monitor_common::{
    event::name::{hello, request},
    limits::{EVENT_ADDRESSES, EVENT_NAME},
};

use super::{DecodeError, Reader};
use crate::observation::{Endpoint, Fact, Lookup, Request, Target};

/// The name in a field of its own, of which `length` bytes count.
fn name(body: &mut Reader, length: u16) -> Result<Vec<u8>, DecodeError> {
    let room = body.array::<EVENT_NAME>("name")?;
    let bytes = room.get(..length.into()).ok_or(DecodeError::Overrun {
        field: "name_length",
        length: length.into(),
        has: EVENT_NAME,
    })?;
    Ok(bytes.to_vec())
}

fn lookup(body: &mut Reader) -> Result<Lookup, DecodeError> {
    let address = Ipv6Addr::from(body.array::<16>("resolver")?).to_canonical();
    let cookie = body.u64("cookie")?;
    body.u64("hash")?;
    let port = body.u16("port")?;
    let qtype = body.u16("qtype")?;
    let protocol = body.u8("protocol")?;
    body.u8("ip")?;
    let length = body.u16("name_length")?;
    Ok(Lookup {
        name: name(body, length)?,
        qtype,
        resolver: Endpoint {
            address,
            port,
            protocol,
        },
        cookie,
    })
}

pub(super) fn query(body: &mut Reader) -> Result<Fact, DecodeError> {
    lookup(body).map(Fact::Query)
}

pub(super) fn answer(body: &mut Reader) -> Result<Fact, DecodeError> {
    let lookup = lookup(body)?;
    let code = body.u16("code")?;
    let count = body.u16("count")?;
    let total = body.u16("total")?;
    body.u16("zero")?;
    if usize::from(count) > EVENT_ADDRESSES {
        return Err(DecodeError::Overrun {
            field: "count",
            length: count.into(),
            has: EVENT_ADDRESSES,
        });
    }
    let mut addresses = Vec::with_capacity(count.into());
    for _ in 0..count {
        let address = Ipv6Addr::from(body.array::<16>("address")?).to_canonical();
        let ttl = body.u32("ttl")?;
        body.u32("zero")?;
        addresses.push((address, ttl));
    }
    Ok(Fact::Answer {
        lookup,
        code,
        addresses,
        total,
    })
}

/// What hellos and requests have in common.
struct Begun {
    endpoint: Endpoint,
    cookie: u64,
    flags: u8,
    name: Vec<u8>,
}

fn begun(body: &mut Reader) -> Result<Begun, DecodeError> {
    let address = Ipv6Addr::from(body.array::<16>("address")?).to_canonical();
    let cookie = body.u64("cookie")?;
    body.u64("hash")?;
    let port = body.u16("port")?;
    let flags = body.u8("flags")?;
    let protocol = body.u8("protocol")?;
    body.u8("ip")?;
    body.u8("zero")?;
    let length = body.u16("name_length")?;
    Ok(Begun {
        endpoint: Endpoint {
            address,
            port,
            protocol,
        },
        cookie,
        flags,
        name: name(body, length)?,
    })
}

pub(super) fn hello(body: &mut Reader) -> Result<Fact, DecodeError> {
    let begun = begun(body)?;
    Ok(Fact::Hello {
        endpoint: begun.endpoint,
        name: (!begun.name.is_empty()).then_some(begun.name),
        encrypted: begun.flags & hello::ENCRYPTED != 0,
        cut: begun.flags & hello::CUT != 0,
        cookie: begun.cookie,
    })
}

pub(super) fn request(body: &mut Reader) -> Result<Fact, DecodeError> {
    const HTTP: u16 = 80;
    const HTTPS: u16 = 443;
    let begun = begun(body)?;
    let has = |bit| begun.flags & bit != 0;
    let tunnel = has(request::TUNNEL);
    let usual = if has(request::HTTPS) { HTTPS } else { HTTP };
    Ok(Fact::Request(Request {
        proxy: begun.endpoint,
        target: Target::parse(&begun.name, (!tunnel).then_some(usual)),
        tunnel,
        cookie: begun.cookie,
    }))
}
