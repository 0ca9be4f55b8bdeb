//! Files below `/proc` taken apart: bytes in, values out. Names in them are chosen by the processes
//! that they describe. It opens nothing: that is the shell's.

use std::{ffi::OsString, os::unix::ffi::OsStringExt, path::PathBuf};

/// The first facts about a process, from `stat`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stat {
    /// The process that started it, or that inherited it.
    pub parent: u32,
    /// Start since boot in ticks of 10 ms.
    pub start_ticks: u64,
    /// A thread of the kernel's own.
    pub kernel: bool,
}

/// One mount, from `mountinfo`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// Its id.
    pub id: u64,
    /// Device of the file system as the kernel counts it: major << 20 | minor.
    pub device: u64,
    /// Directory of the file system that is mounted.
    pub root: PathBuf,
    /// Where.
    pub point: PathBuf,
    /// Type of the file system.
    pub kind: String,
}

/// `stat`: parent and start time.
pub fn stat(bytes: &[u8]) -> Option<Stat> {
    const PF_KTHREAD: u64 = 0x0020_0000;
    // The name in brackets may hold anything, brackets and newlines too.
    let end = bytes.iter().rposition(|b| *b == b')')?;
    let text = std::str::from_utf8(bytes.get(end + 2..)?).ok()?;
    let fields: Vec<_> = text.split_ascii_whitespace().collect();
    Some(Stat {
        parent: fields.get(1)?.parse().ok()?,
        kernel: fields.get(6)?.parse::<u64>().ok()? & PF_KTHREAD != 0,
        start_ticks: fields.get(19)?.parse().ok()?,
    })
}

/// `cmdline`: the arguments, raw.
pub fn arguments(bytes: &[u8]) -> Vec<Vec<u8>> {
    let bytes = bytes.strip_suffix(b"\0").unwrap_or(bytes);
    if bytes.is_empty() {
        return vec![];
    }
    bytes.split(|b| *b == 0).map(<[u8]>::to_vec).collect()
}

/// `status`: the real user. The name of the process, which stands before it, need not be UTF-8.
pub fn user(status: &[u8]) -> Option<u32> {
    let line = lines(status).find_map(|l| l.strip_prefix(b"Uid:"))?;
    let text = std::str::from_utf8(line).ok()?;
    text.split_ascii_whitespace().next()?.parse().ok()
}

/// `cgroup`: the path in the version 2 hierarchy; none if it is not text.
pub fn cgroup(text: &[u8]) -> Option<&str> {
    let path = lines(text).find_map(|l| l.strip_prefix(b"0::"))?;
    std::str::from_utf8(path).ok()
}

/// `net/tcp` and its like: inodes of the sockets in state LISTEN.
pub fn listening_inodes(table: &[u8]) -> Vec<u64> {
    lines(table)
        .skip(1)
        .filter_map(|line| {
            let text = std::str::from_utf8(line).ok()?;
            let fields: Vec<_> = text.split_ascii_whitespace().collect();
            (*fields.get(3)? == "0A")
                .then(|| fields.get(9)?.parse().ok())
                .flatten()
        })
        .collect()
}

/// `fd/*`: the inode of a socket, by what the link says.
pub fn socket_inode(target: &[u8]) -> Option<u64> {
    std::str::from_utf8(target)
        .ok()?
        .strip_prefix("socket:[")?
        .strip_suffix(']')?
        .parse()
        .ok()
}

/// `mountinfo`: the whole table; lines that are not understood are left out. Somebody's mount at a
/// place that is not UTF-8 does not hide the others.
pub fn mounts(mountinfo: &[u8]) -> Vec<Mount> {
    lines(mountinfo).filter_map(mount).collect()
}

fn mount(line: &[u8]) -> Option<Mount> {
    // Blanks inside names are escaped, so that this is the separator and nothing else.
    let separator = line.windows(3).position(|w| w == b" - ")?;
    let (left, right) = (&line[..separator], &line[separator + 3..]);
    let mut fields = left.split(|b| *b == b' ');
    let number = |field: &[u8]| -> Option<u64> { std::str::from_utf8(field).ok()?.parse().ok() };
    let id = number(fields.next()?)?;
    let _parent = fields.next()?;
    let device_field = fields.next()?;
    let colon = device_field.iter().position(|b| *b == b':')?;
    let (major, minor) = (&device_field[..colon], &device_field[colon + 1..]);
    let device = device(number(major)?, number(minor)?);
    let root = unescape(fields.next()?);
    let point = unescape(fields.next()?);
    let kind = right.split(|b| *b == b' ').next()?;
    Some(Mount {
        id,
        device,
        root,
        point,
        kind: std::str::from_utf8(kind).ok()?.to_owned(),
    })
}

fn lines(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    bytes.split(|b| *b == b'\n').filter(|line| !line.is_empty())
}

/// A device number in the encoding that the kernel uses inside.
pub fn device(major: u64, minor: u64) -> u64 {
    major << 20 | minor
}

/// The kernel writes blanks, tabs, newlines and backslashes as three octal digits.
fn unescape(bytes: &[u8]) -> PathBuf {
    let mut out = Vec::with_capacity(bytes.len());
    let mut i = 0;
    while i < bytes.len() {
        let octal = bytes
            .get(i + 1..i + 4)
            .filter(|_| bytes[i] == b'\\')
            .and_then(|d| std::str::from_utf8(d).ok())
            .and_then(|d| u8::from_str_radix(d, 8).ok());
        match octal {
            Some(byte) => {
                out.push(byte);
                i += 4;
            }
            None => {
                out.push(bytes[i]);
                i += 1;
            }
        }
    }
    PathBuf::from(OsString::from_vec(out))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_names_do_not_shift_the_fields() {
        let tail = "S 3 7 7 0 -1 4194304 1 0 0 0 0 0 0 0 20 0 1 0 12345 0 0";
        let stat = stat(format!("7 (a) S 1 \n) {tail}").as_bytes()).unwrap();
        assert_eq!((stat.parent, stat.start_ticks), (3, 12345));
    }

    #[test]
    fn a_name_that_is_no_text_hides_nothing() {
        let status = b"Name:\t\xff\xfe\nUmask:\t0022\nUid:\t33\t0\t0\t0\n";
        assert_eq!(user(status), Some(33));
        assert_eq!(cgroup(b"1:name=\xff:/\n0::/a.slice\n"), Some("/a.slice"));
        let table = b"41 31 0:38 / /mnt/\xff rw - tmpfs none rw\n\
                      42 31 0:39 / /sys/fs/cgroup rw - cgroup2 none rw\n";
        assert_eq!(mounts(table)[1].kind, "cgroup2");
        assert_eq!(mounts(table).len(), 2);
    }

    #[test]
    fn only_the_listening_state_counts() {
        let table = b"  sl  local_address rem_address   st ...\n\
            0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000 0 0 111 1\n\
            1: 0100007F:1F90 0100007F:C350 01 00000000:00000000 00:00000000 00000000 0 0 222 1\n";
        assert_eq!(listening_inodes(table), [111]);
        assert_eq!(socket_inode(b"socket:[222]"), Some(222));
        assert_eq!(socket_inode(b"/dev/null"), None);
    }

    #[test]
    fn optional_fields_and_escapes_are_understood() {
        let text = b"41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n\
                    50 1 259:3 /a /mnt/with\\040blank rw shared:7 master:2 - ext4 /dev/x rw\n\
                    broken line\n";
        let mounts = mounts(text);
        assert_eq!(mounts.len(), 2);
        assert_eq!(mounts[0].kind, "cgroup2");
        assert_eq!(mounts[0].device, 38);
        assert_eq!(mounts[1].point, PathBuf::from("/mnt/with blank"));
        assert_eq!(mounts[1].device, 259 << 20 | 3);
        assert_eq!(mounts[1].root, PathBuf::from("/a"));
    }
}
