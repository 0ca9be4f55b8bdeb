//! A cursor over the little-endian bytes of an event. It knows how wide things are, not what they
//! mean.

use monitor_common::event::Header;

use super::DecodeError;

/// Reads from the front; every read names its field, so that an error can.
pub(super) struct Reader<'a> {
    rest: &'a [u8],
    total: usize,
}

macro_rules! integers {
    ($($t:ident),+) => {
        $(pub fn $t(&mut self, field: &'static str) -> Result<$t, DecodeError> {
            Ok($t::from_le_bytes(self.array(field)?))
        })+
    };
}

impl<'a> Reader<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self {
            rest: bytes,
            total: bytes.len(),
        }
    }

    integers!(u8, u16, u32, u64);

    pub fn array<const N: usize>(&mut self, field: &'static str) -> Result<[u8; N], DecodeError> {
        let (head, tail) = self
            .rest
            .split_first_chunk::<N>()
            .ok_or(DecodeError::Short {
                field,
                has: self.total,
            })?;
        self.rest = tail;
        Ok(*head)
    }

    /// As many bytes as a length field says.
    pub fn take(&mut self, field: &'static str, length: usize) -> Result<&'a [u8], DecodeError> {
        let (head, tail) = self
            .rest
            .split_at_checked(length)
            .ok_or(DecodeError::Overrun {
                field,
                length,
                has: self.rest.len(),
            })?;
        self.rest = tail;
        Ok(head)
    }

    pub fn skip_header(&mut self) -> Result<(), DecodeError> {
        self.array::<{ size_of::<Header>() }>("header").map(|_| ())
    }

    pub fn header(&mut self) -> Result<Header, DecodeError> {
        Ok(Header {
            time: self.u64("time")?,
            start_time: self.u64("start_time")?,
            cgroup: self.u64("cgroup")?,
            count: self.u64("count")?,
            tgid: self.u32("tgid")?,
            pid: self.u32("pid")?,
            uid: self.u32("uid")?,
            policy: self.u32("policy")?,
            length: self.u32("length")?,
            class: self.u16("class")?,
            kind: self.u8("kind")?,
            hook: self.u8("hook")?,
            verdict: self.u8("verdict")?,
            flags: self.u8("flags")?,
            family: self.u8("family")?,
            mode: self.u8("mode")?,
            zero: self.u32("zero")?,
            comm: self.array("comm")?,
        })
    }
}
