//! Name family: look-ups, their answers, and the names that TLS servers are called by.

use std::net::Ipv6Addr;

use monitor_common::{
    event::name::hello,
    limits::{EVENT_ADDRESSES, EVENT_NAME},
};

use super::{DecodeError, Reader};
use crate::observation::{Endpoint, Fact, Lookup};

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

pub(super) fn hello(body: &mut Reader) -> Result<Fact, DecodeError> {
    let address = Ipv6Addr::from(body.array::<16>("address")?).to_canonical();
    let cookie = body.u64("cookie")?;
    body.u64("hash")?;
    let port = body.u16("port")?;
    let flags = body.u8("flags")?;
    let protocol = body.u8("protocol")?;
    body.u8("ip")?;
    body.u8("zero")?;
    let length = body.u16("name_length")?;
    let name = name(body, length)?;
    Ok(Fact::Hello {
        endpoint: Endpoint {
            address,
            port,
            protocol,
        },
        name: (!name.is_empty()).then_some(name),
        encrypted: flags & hello::ENCRYPTED != 0,
        cut: flags & hello::CUT != 0,
        cookie,
    })
}
