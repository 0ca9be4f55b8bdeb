//! The kernel's type information: where members lie, read from `/sys/kernel/btf/vmlinux`.
//!
//! A small reader of our own, because aya-obj keeps members to itself. Format: Linux,
//! `Documentation/bpf/btf.rst`. It descends into anonymous structs and unions and refuses to
//! choose when two types of one name disagree.

use std::collections::HashMap;

use monitor_common::offsets::Offsets;

use super::KernelError;

const MAGIC: u32 = 0xeb9f;
const KIND_STRUCT: u32 = 4;
const KIND_UNION: u32 = 5;

/// Parsed type information.
pub struct Btf<'a> {
    data: &'a [u8],
    strings: usize,
    /// Where each type starts, by id.
    types: Vec<usize>,
    /// Structs and unions by name.
    named: HashMap<&'a [u8], Vec<u32>>,
}

/// Why a member cannot be used.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum BtfError {
    /// Not BTF, or cut short.
    #[error("the kernel's type information cannot be read (damaged at byte {0})")]
    Damaged(usize),
    /// No such struct or member.
    #[error("this kernel has no {0}")]
    Missing(String),
    /// Two structs of that name put it at different places.
    #[error("this kernel has more than one {0}")]
    Ambiguous(String),
    /// Not at a whole byte.
    #[error("{0} is a bit field")]
    BitField(String),
}

impl<'a> Btf<'a> {
    /// Reads the header and indexes the types.
    ///
    /// # Errors
    /// [`BtfError::Damaged`] for anything that is not well-formed BTF of this byte order.
    pub fn parse(data: &'a [u8]) -> Result<Self, BtfError> {
        let word = |at: usize| word(data, at);
        if word(0)? & 0xffff != MAGIC {
            return Err(BtfError::Damaged(0));
        }
        let header = word(4)? as usize;
        let start = header
            .checked_add(word(8)? as usize)
            .ok_or(BtfError::Damaged(8))?;
        let end = start
            .checked_add(word(12)? as usize)
            .ok_or(BtfError::Damaged(12))?;
        let strings = header
            .checked_add(word(16)? as usize)
            .ok_or(BtfError::Damaged(16))?;
        let mut btf = Self {
            data,
            strings,
            types: vec![0],
            named: HashMap::new(),
        };
        let mut at = start;
        while at < end {
            let info = word(at + 4)?;
            let (kind, count) = ((info >> 24) & 0x1f, (info & 0xffff) as usize);
            btf.types.push(at);
            if kind == KIND_STRUCT || kind == KIND_UNION {
                let name = btf.string(word(at)? as usize)?;
                if !name.is_empty() {
                    btf.named
                        .entry(name)
                        .or_default()
                        .push(btf.types.len() as u32 - 1);
                }
            }
            at += 12
                + match kind {
                    1 | 14 | 17 => 4,
                    3 => 12,
                    KIND_STRUCT | KIND_UNION | 15 | 19 => 12 * count,
                    6 | 13 => 8 * count,
                    2 | 7..=12 | 16 | 18 => 0,
                    _ => return Err(BtfError::Damaged(at)),
                };
        }
        Ok(btf)
    }

    fn string(&self, offset: usize) -> Result<&'a [u8], BtfError> {
        let at = self.strings + offset;
        let rest = self.data.get(at..).ok_or(BtfError::Damaged(at))?;
        let end = rest
            .iter()
            .position(|b| *b == 0)
            .ok_or(BtfError::Damaged(at))?;
        Ok(&rest[..end])
    }

    /// The type behind typedefs and qualifiers.
    fn resolve(&self, mut id: u32) -> Result<u32, BtfError> {
        for _ in 0..32 {
            let at = *self.types.get(id as usize).ok_or(BtfError::Damaged(0))?;
            match (word(self.data, at + 4)? >> 24) & 0x1f {
                8..=11 | 18 => id = word(self.data, at + 8)?,
                _ => return Ok(id),
            }
        }
        Err(BtfError::Damaged(0))
    }

    /// Bit offset and type of a member, also inside anonymous members.
    fn member(&self, id: u32, name: &[u8], depth: u32) -> Result<Option<(u32, u32)>, BtfError> {
        let at = *self.types.get(id as usize).ok_or(BtfError::Damaged(0))?;
        let info = word(self.data, at + 4)?;
        let kind = (info >> 24) & 0x1f;
        if depth > 8 || (kind != KIND_STRUCT && kind != KIND_UNION) {
            return Ok(None);
        }
        for i in 0..(info & 0xffff) as usize {
            let m = at + 12 + 12 * i;
            let (its_name, its_type) = (
                self.string(word(self.data, m)? as usize)?,
                word(self.data, m + 4)?,
            );
            // With bit fields in the struct the upper byte is the field's width.
            let bits = word(self.data, m + 8)? & if info >> 31 == 1 { 0xff_ffff } else { u32::MAX };
            if its_name == name {
                return Ok(Some((bits, its_type)));
            }
            if its_name.is_empty()
                && let Some((inner, t)) = self.member(self.resolve(its_type)?, name, depth + 1)?
            {
                return Ok(Some((bits + inner, t)));
            }
        }
        Ok(None)
    }

    /// Byte offset of `struct.member[.member…]`.
    ///
    /// # Errors
    /// Why it cannot be used.
    pub fn offset(&self, path: &str) -> Result<u32, BtfError> {
        let mut parts = path.split('.');
        let root = parts.next().unwrap_or_default();
        let fields: Vec<&str> = parts.collect();
        let mut found: Option<u32> = None;
        for id in self
            .named
            .get(root.as_bytes())
            .map(Vec::as_slice)
            .unwrap_or_default()
        {
            let mut at = (0u32, *id);
            let mut complete = true;
            for field in &fields {
                match self.member(self.resolve(at.1)?, field.as_bytes(), 0)? {
                    Some((bits, t)) => at = (at.0 + bits, t),
                    None => complete = false,
                }
            }
            if !complete {
                continue;
            }
            match found {
                Some(f) if f != at.0 => return Err(BtfError::Ambiguous(path.into())),
                _ => found = Some(at.0),
            }
        }
        match found {
            None => Err(BtfError::Missing(path.into())),
            Some(bits) if bits % 8 != 0 => Err(BtfError::BitField(path.into())),
            Some(bits) => Ok(bits / 8),
        }
    }
}

fn word(data: &[u8], at: usize) -> Result<u32, BtfError> {
    let bytes = data.get(at..at + 4).ok_or(BtfError::Damaged(at))?;
    Ok(u32::from_ne_bytes(
        bytes.try_into().map_err(|_| BtfError::Damaged(at))?,
    ))
}

/// Offsets of the running kernel, and what is missing.
#[derive(Clone, Debug)]
pub struct KernelOffsets {
    /// The values for the programs.
    pub values: Offsets,
    /// Name of each member that is not there, and why.
    pub missing: Vec<(&'static str, String)>,
}

impl KernelOffsets {
    /// The first of these members that is missing, with the reason.
    pub fn lacks(&self, needed: &[&str]) -> Option<&str> {
        self.missing
            .iter()
            .find(|(name, _)| needed.contains(name))
            .map(|(_, why)| why.as_str())
    }
}

/// Looks up every member that the programs read.
///
/// # Errors
/// The type information cannot be read at all, or contradicts what the programs rely on.
pub fn offsets(data: &[u8]) -> Result<KernelOffsets, KernelError> {
    let btf = Btf::parse(data).map_err(|e| feature(e.to_string()))?;
    let mut all = KernelOffsets {
        values: Offsets::NONE,
        missing: vec![],
    };
    for (name, path) in Offsets::PATHS {
        match btf.offset(path) {
            Ok(offset) => {
                all.values.set(name, offset);
            }
            Err(e) => all.missing.push((name, e.to_string())),
        }
    }
    let v = &all.values;
    // The walk reads parent, length and name of a dentry at once.
    if all
        .lacks(&["dentry_parent", "dentry_name", "qstr_len", "qstr_name"])
        .is_none()
        && (v.dentry_name != v.dentry_parent + 8 || v.qstr_len != 4 || v.qstr_name != 8)
    {
        return Err(feature(
            "struct dentry is laid out as no known kernel has it".into(),
        ));
    }
    Ok(all)
}

fn feature(what: String) -> KernelError {
    KernelError::Feature {
        what,
        advice: "use a kernel built with CONFIG_DEBUG_INFO_BTF=y (Debian 12 and later have it)"
            .into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two structs: `a { int x; struct { int y; }; }`, and twice `b` with different members.
    fn sample() -> Vec<u8> {
        let strings = b"\0int\0a\0x\0y\0b\0";
        let (int, a, x, y, b) = (1u32, 5, 7, 9, 11);
        let mut t: Vec<u32> = vec![];
        t.extend([int, 1 << 24, 4, 32]); // 1: int
        t.extend([0, KIND_STRUCT << 24 | 1, 4, y, 1, 0]); // 2: anonymous { y }
        t.extend([a, KIND_STRUCT << 24 | 2, 8, x, 1, 0, 0, 2, 32]); // 3: a
        t.extend([b, KIND_STRUCT << 24 | 1, 4, x, 1, 0]); // 4: b { x at 0 }
        t.extend([b, KIND_STRUCT << 24 | 1, 8, x, 1, 32]); // 5: b { x at 4 }
        let mut out = vec![];
        for w in [
            MAGIC | 1 << 16,
            24,
            0,
            t.len() as u32 * 4,
            t.len() as u32 * 4,
            strings.len() as u32,
        ] {
            out.extend(w.to_ne_bytes());
        }
        t.iter().for_each(|w| out.extend(w.to_ne_bytes()));
        out.extend(strings);
        out
    }

    #[test]
    fn members_are_found_also_inside_anonymous_structs() {
        let data = sample();
        let btf = Btf::parse(&data).unwrap();
        assert_eq!(btf.offset("a.x"), Ok(0));
        assert_eq!(btf.offset("a.y"), Ok(4));
    }

    #[test]
    fn what_is_missing_or_ambiguous_is_refused_by_name() {
        let data = sample();
        let btf = Btf::parse(&data).unwrap();
        assert_eq!(btf.offset("a.z"), Err(BtfError::Missing("a.z".into())));
        assert_eq!(btf.offset("c.x"), Err(BtfError::Missing("c.x".into())));
        assert_eq!(btf.offset("b.x"), Err(BtfError::Ambiguous("b.x".into())));
    }

    #[test]
    fn damaged_information_is_refused_at_every_length() {
        let data = sample();
        for n in 0..data.len() - 20 {
            assert!(
                Btf::parse(&data[..n])
                    .and_then(|b| b.offset("a.y"))
                    .is_err(),
                "{n}"
            );
        }
    }
}
