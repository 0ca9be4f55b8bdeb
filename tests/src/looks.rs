//! What a running server looks like from outside: command line, libraries,
//! model files, ports. Written down, it is what detectors are tested against
//! where the server itself cannot be had.
//!
//! Reads /proc; must not know what a detector makes of it.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use crate::daemon::quote;

/// Endings of files that may hold a model.
const MODELS: [(&str, &str); 3] = [
    (".gguf", "gguf"),
    (".onnx", "onnx"),
    (".safetensors", "safetensors"),
];

/// Describes the process `pid` as a case for detectors. `places` are folders
/// of this machine, and what to write instead.
pub fn describe(pid: i32, says: &str, detector: &str, places: &[(&Path, &str)]) -> Result<String> {
    let proc = |name: &str| Path::new("/proc").join(pid.to_string()).join(name);
    let read = |name: &str| -> Result<String> {
        let bytes = fs::read(proc(name)).with_context(|| format!("read {name} of {pid}"))?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    };
    let place = |text: &str| {
        places.iter().fold(text.to_owned(), |text, (from, to)| {
            text.replace(&from.display().to_string(), to)
        })
    };
    let list = |items: &mut dyn Iterator<Item = String>| {
        let lines: String = items
            .map(|item| format!("  {},\n", quote(&place(&item))))
            .collect();
        format!("[\n{lines}]")
    };
    let exe = fs::read_link(proc("exe")).context("find the program")?;
    let arguments = read("cmdline")?;
    let environment = read("environ")?;
    let mapped: BTreeSet<String> = read("maps")?
        .lines()
        .filter_map(|line| line.split_once('/').map(|(_, path)| format!("/{path}")))
        .collect();
    let is_library = |path: &&String| path.contains(".so") || path.ends_with(".node");
    let open: BTreeSet<String> = fs::read_dir(proc("fd"))
        .context("list descriptors")?
        .flatten()
        .filter_map(|fd| fs::read_link(fd.path()).ok())
        .map(|path| path.display().to_string())
        .collect();
    let ports: Vec<String> = listening(&read("net/tcp")?, &open)
        .map(|port| port.to_string())
        .collect();

    let mut text = format!(
        "[[case]]\nsays = {}\nprovenance = \"recorded\"\ndetector = {}\nfound = true\n[case.process]\n\
         exe = {}\ncomm = {}\nargv = {}\nenv = {}\nlibraries = {}\nports = [{}]\n{}",
        quote(says),
        quote(detector),
        quote(&place(&exe.display().to_string())),
        quote(read("comm")?.trim_end()),
        list(&mut arguments.split_terminator('\0').map(str::to_owned)),
        list(
            &mut environment
                .split_terminator('\0')
                .filter_map(|entry| { entry.split_once('=').map(|(name, _)| name.to_owned()) })
        ),
        list(&mut mapped.iter().filter(is_library).cloned()),
        ports.join(", "),
        heap(&read("status")?),
    );
    for (how, path) in mapped
        .iter()
        .map(|path| ("mapped", path))
        .chain(open.difference(&mapped).map(|path| ("read", path)))
    {
        let Some((_, format)) = MODELS.iter().find(|(ending, _)| path.ends_with(ending)) else {
            continue;
        };
        let size = fs::metadata(path)
            .map(|file| file.len())
            .unwrap_or_default();
        text.push_str(&format!(
            "[[case.process.file]]\npath = {}\nsize = {size}\nformat = {}\nhow = {}\n",
            quote(&place(path)),
            quote(format),
            quote(how)
        ));
    }
    Ok(text)
}

/// The lines of a description that do not depend on this machine.
pub fn lasting(text: &str) -> Vec<&str> {
    let varies = |line: &&str| {
        line.starts_with("heap = ")
            || line.starts_with("size = ")
            || line.starts_with('#')
            || line.contains("\"/usr/")
            || line.contains("/libggml-cpu-") // of the processor's kind
            || line.is_empty()
    };
    text.lines().filter(|line| !varies(line)).collect()
}

fn heap(status: &str) -> String {
    let kilobytes = status
        .lines()
        .find_map(|line| line.strip_prefix("RssAnon:"))
        .and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok());
    kilobytes.map_or(String::new(), |kilobytes| {
        format!("heap = {}\n", kilobytes << 10)
    })
}

/// Ports of those listening sockets in `table` that are among `open`.
fn listening<'a>(table: &'a str, open: &'a BTreeSet<String>) -> impl Iterator<Item = u16> + 'a {
    table.lines().skip(1).filter_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let (local, state, inode) = (fields.get(1)?, fields.get(3)?, fields.get(9)?);
        let ours = *state == "0A" && open.contains(&format!("socket:[{inode}]"));
        let (_, port) = local.split_once(':')?;
        ours.then(|| u16::from_str_radix(port, 16).ok()).flatten()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_own_listeners_count() {
        let table = "  sl  local_address rem_address   st\n\
            0: 0100007F:1F91 00000000:0000 0A 0:0 00:0 0 0 0 42 1\n\
            1: 0100007F:0050 00000000:0000 0A 0:0 00:0 0 0 0 43 1\n\
            2: 0100007F:1F92 00000000:0000 01 0:0 00:0 0 0 0 42 1\n";
        let open = BTreeSet::from(["socket:[42]".to_owned()]);
        assert_eq!(listening(table, &open).collect::<Vec<_>>(), [8081]);
    }
}
