//! What was done to a path, as finely as learning tells it apart.
//!
//! Finer than permissions: that a folder's files are read says nothing about new ones being made in
//! it. Knows facts; not policies.

use monitor_common::{
    event::change::Action,
    path::permission::{CONNECT, EXEC, READ, WRITE},
};

use crate::fact::{Fact, FileAccess};

/// A kind of access.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Access {
    /// Opened for reading, or mapped.
    Read,
    /// Opened for writing.
    Write,
    /// Made: a file, a folder, a link, or the new name of one that was moved.
    Create,
    /// Taken away, or moved elsewhere.
    Remove,
    /// Started as a program.
    Execute,
    /// Connected to, as a unix socket.
    Connect,
}

impl Access {
    /// Every kind.
    pub const ALL: [Self; 6] = [
        Self::Read,
        Self::Write,
        Self::Create,
        Self::Remove,
        Self::Execute,
        Self::Connect,
    ];

    /// The word for it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Create => "create",
            Self::Remove => "unlink",
            Self::Execute => "exec",
            Self::Connect => "connect",
        }
    }

    /// The kind that a word means.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|access| access.word() == word)
    }

    /// The bit of [`monitor_common::path::permission`] that the kernel asks for; it has no finer
    /// ones.
    pub const fn permission(self) -> u8 {
        match self {
            Self::Read => READ,
            Self::Write | Self::Create | Self::Remove => WRITE,
            Self::Execute => EXEC,
            Self::Connect => CONNECT,
        }
    }

    /// Kinds of access that a fact is; none where it is not about a path.
    pub fn of(fact: &Fact) -> Vec<Self> {
        match fact.inner() {
            Fact::Open(file) => [(READ, Self::Read), (WRITE, Self::Write)]
                .into_iter()
                .filter(|(bit, _)| file.access & bit != 0)
                .map(|(_, access)| access)
                .collect(),
            Fact::Exec { .. } => vec![Self::Execute],
            Fact::Unix(_) => vec![Self::Connect],
            Fact::Change { action, .. } => vec![match action {
                Action::Unlink | Action::Rmdir | Action::RenameFrom => Self::Remove,
                Action::RenameTo
                | Action::LinkTo
                | Action::Symlink
                | Action::Mkdir
                | Action::Mknod => Self::Create,
                // Who has another name for a file can change it through that.
                Action::Truncate | Action::LinkFrom => Self::Write,
            }],
            _ => vec![],
        }
    }
}

/// The path as learning wants it: `self` for the process's own folder in `/proc`, and the real
/// numbers of others, which the decoder's name leaves out.
pub fn path_of(file: &FileAccess) -> Vec<u8> {
    let split = |path| <[u8]>::split(path, |b: &u8| *b == b'/');
    let mut real = split(&file.path);
    let parts: Vec<&[u8]> = split(&file.name)
        .map(|name| match (name, real.next()) {
            (b"*", Some(real)) => real,
            _ => name,
        })
        .collect();
    parts.join(&b'/')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_come_back() {
        for access in Access::ALL {
            assert_eq!(Access::from_word(access.word()), Some(access));
        }
        assert_eq!(Access::from_word("rewrite"), None);
    }

    #[test]
    fn the_own_process_stays_self_and_others_keep_their_number() {
        let file = |path: &str, name: &str| FileAccess {
            path: path.into(),
            name: name.into(),
            inode: (0, 0),
            access: READ,
            cut: false,
            incomplete: false,
        };
        let path = |path, name| String::from_utf8(path_of(&file(path, name))).unwrap();
        assert_eq!(
            path("/proc/7/task/8/stat", "/proc/self/task/*/stat"),
            "/proc/self/task/8/stat"
        );
        assert_eq!(path("/proc/7/maps", "/proc/*/maps"), "/proc/7/maps");
        assert_eq!(path("/tmp/*", "/tmp/*"), "/tmp/*");
    }
}
