//! The file system as plans see it: what is at a path now, without following links.

use std::{
    ffi::OsStr,
    fs::{self, File, FileType},
    os::unix::ffi::{OsStrExt, OsStringExt},
    path::Path,
};

use object::{
    Endianness,
    elf::FileHeader64,
    read::{
        ReadCache,
        elf::{FileHeader, ProgramHeader},
    },
};
use slmguard_core::decide::sandbox::{Kind, Tree};

/// The real file system.
#[derive(Clone, Copy, Debug, Default)]
pub struct Files;

impl Tree for Files {
    fn kind(&self, path: &[u8]) -> Option<Kind> {
        let meta = fs::symlink_metadata(OsStr::from_bytes(path)).ok()?;
        Some(kind(meta.file_type()))
    }

    /// What cannot be listed is empty: whoever is started as this user cannot list it either.
    fn children(&self, directory: &[u8]) -> Vec<(Vec<u8>, Kind)> {
        let Ok(entries) = fs::read_dir(OsStr::from_bytes(directory)) else {
            return vec![];
        };
        let mut children: Vec<_> = entries
            .filter_map(|entry| {
                let entry = entry.ok()?;
                Some((entry.file_name().into_vec(), kind(entry.file_type().ok()?)))
            })
            .collect();
        children.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        children
    }

    fn loader(&self, program: &[u8]) -> Option<Vec<u8>> {
        let data = ReadCache::new(File::open(OsStr::from_bytes(program)).ok()?);
        let header = FileHeader64::<Endianness>::parse(&data).ok()?;
        let endian = header.endian().ok()?;
        let name = header
            .program_headers(endian, &data)
            .ok()?
            .iter()
            .find_map(|segment| segment.interpreter(endian, &data).ok()?)?;
        let path = Path::new(OsStr::from_bytes(name)).canonicalize().ok()?;
        Some(path.into_os_string().into_vec())
    }
}

fn kind(file_type: FileType) -> Kind {
    if file_type.is_dir() {
        Kind::Directory
    } else if file_type.is_symlink() {
        Kind::Link
    } else {
        Kind::File
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name).into_os_string().into_vec();
        fs::create_dir(dir.path().join("d")).unwrap();
        fs::write(dir.path().join("f"), "x").unwrap();
        std::os::unix::fs::symlink("d", dir.path().join("l")).unwrap();
        assert_eq!(Files.kind(&at("d")), Some(Kind::Directory));
        assert_eq!(Files.kind(&at("f")), Some(Kind::File));
        assert_eq!(Files.kind(&at("l")), Some(Kind::Link));
        assert_eq!(Files.kind(&at("x")), None);
        let names = Files.children(dir.path().as_os_str().as_bytes());
        assert_eq!(
            names,
            [
                (b"d".to_vec(), Kind::Directory),
                (b"f".to_vec(), Kind::File),
                (b"l".to_vec(), Kind::Link)
            ]
        );
    }

    #[test]
    fn a_dynamic_program_names_its_loader_and_a_script_none() {
        let shell = fs::canonicalize("/bin/sh").unwrap();
        let loader = Files.loader(shell.as_os_str().as_bytes()).unwrap();
        assert!(Path::new(OsStr::from_bytes(&loader)).is_file());
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("script");
        fs::write(&path, "#!/bin/sh\n").unwrap();
        assert_eq!(Files.loader(path.as_os_str().as_bytes()), None);
    }
}
