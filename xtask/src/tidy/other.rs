//! The house's rules for everything that is not Rust: manifests, lock files, paths, host names.
//!
//! Pure: a path and a text in, findings out.

use super::Finding;

/// Hosts of package registries: which mirror serves a package is each machine's own matter.
/// Written apart so that this file does not name them either.
const REGISTRIES: [&str; 6] = [
    concat!("crates", ".io"),
    concat!("registry.npmjs", ".org"),
    concat!("deb.debian", ".org"),
    concat!("security.debian", ".org"),
    concat!("pypi", ".org"),
    concat!("files.pythonhosted", ".org"),
];

/// The name by which every Cargo.lock refers to the one public registry.
const CANONICAL_INDEX: &str = concat!(
    "source = \"registry+https://github.com/rust-lang/crates",
    ".io-index\""
);

/// Folders that hold many people's things: naming one betrays no machine.
const COMMON: [&str; 8] = [
    "/", "/tmp", "/root", "/home", "/srv", "/opt", "/var/tmp", "/usr/src",
];

/// Host names of registries, in any file.
pub fn registries(path: &str, text: &str) -> Vec<Finding> {
    let lock = path.ends_with("Cargo.lock");
    numbered(text)
        .filter(|(_, line)| !(lock && *line == CANONICAL_INDEX))
        .filter_map(|(number, line)| {
            let host = REGISTRIES.iter().find(|host| line.contains(*host))?;
            Some(Finding::new(
                path,
                number,
                format!("names the registry host {host}"),
            ))
        })
        .collect()
}

/// Folders of the machine this clone happens to be on: `places` are the clone, its parent, and the
/// person's home.
pub fn machine_paths(path: &str, text: &str, places: &[String]) -> Vec<Finding> {
    let mut found = Vec::new();
    for place in places
        .iter()
        .filter(|place| !COMMON.contains(&place.as_str()))
    {
        let needle = format!("{place}/");
        for (number, line) in numbered(text) {
            let here = line.match_indices(&needle).any(|(at, _)| {
                let before = line[..at].chars().next_back();
                !before.is_some_and(|c| c.is_alphanumeric() || "_.-/})]*".contains(c))
            });
            if here {
                let message = format!("names a folder of one machine, {place}");
                found.push(Finding::new(path, number, message));
            }
        }
    }
    found
}

/// npm's lock file must not say where packages were fetched from.
pub fn npm_lock(path: &str, text: &str) -> Vec<Finding> {
    if !path.ends_with("package-lock.json") {
        return Vec::new();
    }
    numbered(text)
        .filter(|(_, line)| line.trim_start().starts_with("\"resolved\""))
        .map(|(number, _)| {
            Finding::new(
                path,
                number,
                "remove \"resolved\": it names one machine's registry".into(),
            )
        })
        .collect()
}

/// Every dependency of the workspace says, right above it, why it is there. Our own crates need
/// no excuse.
pub fn dependencies(path: &str, text: &str) -> Vec<Finding> {
    if path != "Cargo.toml" {
        return Vec::new();
    }
    let mut found = Vec::new();
    let mut inside = false;
    let mut reason = false;
    for (number, line) in numbered(text) {
        let line = line.trim();
        if line.starts_with('[') {
            inside = line == "[workspace.dependencies]";
        } else if inside && !line.is_empty() {
            if line.starts_with('#') {
                // `# --- group` is a heading.
                reason = !line.starts_with("# ---") || line.contains(':');
                continue;
            }
            let ours = line.contains("path =");
            if let Some((name, _)) = line.split_once('=')
                && !ours
                && !reason
                && !line.contains("} #")
            {
                let message = format!("say why `{}` is needed, in a comment above it", name.trim());
                found.push(Finding::new(path, number, message));
            }
        }
        reason = false;
    }
    found
}

fn numbered(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines()
        .enumerate()
        .map(|(index, line)| (index + 1, line))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn registry_hosts_are_found_but_for_the_canonical_line() {
        let line = format!("{CANONICAL_INDEX}\n");
        assert!(registries("Cargo.lock", &line).is_empty());
        assert_eq!(registries("deny.toml", &line).len(), 1);
        let text = format!("see https://{}/x\n", REGISTRIES[1]);
        assert_eq!(registries("docs/a.md", &text).len(), 1);
    }

    #[test]
    fn machine_folders_are_found_only_as_whole_paths() {
        let places = ["/clones".to_owned(), "/tmp".to_owned()];
        let found = |text: &str| machine_paths("a.md", text, &places).len();
        assert_eq!(found("cd /clones/main\n"), 1);
        assert_eq!(found("\"/clones/main\"\n"), 1);
        assert_eq!(found("target/clones/x\n"), 0);
        assert_eq!(found("/tmp/x is everyone's\n"), 0);
    }

    #[test]
    fn a_lock_without_addresses_passes() {
        assert_eq!(
            npm_lock("a/package-lock.json", "  \"resolved\": \"x\",\n").len(),
            1
        );
        assert!(npm_lock("a/package-lock.json", "  \"version\": \"1\",\n").is_empty());
    }

    #[test]
    fn dependencies_say_why() {
        let text = "[workspace.dependencies]\n# --- ours\nmine = { path = \"mine\" }\n\
                    # Errors.\nanyhow = \"1\"\nserde = \"1\"\n\n# --- other\nlibc = \"1\"\n\
                    [profile.release]\nopt-level = 2\n";
        let found: Vec<String> = dependencies("Cargo.toml", text)
            .into_iter()
            .map(|f| f.to_string())
            .collect();
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(
            found[0].starts_with("Cargo.toml:6: say why `serde`"),
            "{found:?}"
        );
        assert!(dependencies("monitor/Cargo.toml", text).is_empty());
    }
}
