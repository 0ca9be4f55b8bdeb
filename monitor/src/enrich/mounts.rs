//! `/proc/<pid>/mountinfo`: which file systems are mounted where.

use std::path::PathBuf;

/// One mount.
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

/// Reads the whole table; lines that are not understood are left out.
pub fn parse(mountinfo: &str) -> Vec<Mount> {
    mountinfo.lines().filter_map(parse_line).collect()
}

fn parse_line(line: &str) -> Option<Mount> {
    let (left, right) = line.split_once(" - ")?;
    let mut fields = left.split(' ');
    let id = fields.next()?.parse().ok()?;
    let _parent = fields.next()?;
    let (major, minor) = fields.next()?.split_once(':')?;
    let root = unescape(fields.next()?);
    let point = unescape(fields.next()?);
    Some(Mount {
        id,
        device: device(major.parse().ok()?, minor.parse().ok()?),
        root,
        point,
        kind: right.split(' ').next()?.to_owned(),
    })
}

/// A device number in the encoding that the kernel uses inside.
pub fn device(major: u64, minor: u64) -> u64 {
    major << 20 | minor
}

/// The kernel writes blanks, tabs, newlines and backslashes as three octal digits.
fn unescape(field: &str) -> PathBuf {
    use std::os::unix::ffi::OsStringExt;
    let bytes = field.as_bytes();
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
    PathBuf::from(std::ffi::OsString::from_vec(out))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn optional_fields_and_escapes_are_understood() {
        let text = "41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n\
                    50 1 259:3 /a /mnt/with\\040blank rw shared:7 master:2 - ext4 /dev/x rw\n\
                    broken line\n";
        let mounts = parse(text);
        assert_eq!(mounts.len(), 2);
        assert_eq!(mounts[0].kind, "cgroup2");
        assert_eq!(mounts[0].device, 38);
        assert_eq!(mounts[1].point, PathBuf::from("/mnt/with blank"));
        assert_eq!(mounts[1].device, 259 << 20 | 3);
        assert_eq!(mounts[1].root, PathBuf::from("/a"));
    }
}
