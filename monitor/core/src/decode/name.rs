//! The name of a file as baselines know it: what changes with every process is taken out.

use monitor_common::event::flag;

/// The path with process numbers in `/proc` replaced: `self` for the process that opens, `*` for
/// any other, and `*` for the thread in `…/task/<thread>`. Only `/proc` itself: that is the one place
/// where the kernel programs put `self` in, too.
///
/// Component for component as long as the path, and a `*` stands only where the path has a number:
/// so a real file called `*` can be told from it ([`crate::observation::FileAccess::subject`]). A
/// path whose beginning is missing stays as it is: nothing in it can be placed.
pub fn name_of(path: &[u8], flags: u8) -> Vec<u8> {
    if flags & (flag::PATH_CUT | flag::PATH_INCOMPLETE) != 0 {
        return path.to_vec();
    }
    let mut parts: Vec<&[u8]> = path.split(|b| *b == b'/').collect();
    // parts[0] is what stands before the first slash: nothing, in an absolute path.
    if let [b"", b"proc", process, below @ ..] = &mut parts[..]
        && is_number(process)
    {
        *process = if flags & flag::PROC_SELF != 0 {
            b"self"
        } else {
            b"*"
        };
        if let [b"task", thread, ..] = below
            && is_number(thread)
        {
            *thread = b"*";
        }
    }
    parts.join(&b'/')
}

fn is_number(part: &[u8]) -> bool {
    !part.is_empty() && part.iter().all(u8::is_ascii_digit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn becomes(path: &str, flags: u8, name: &str) {
        assert_eq!(
            String::from_utf8(name_of(path.as_bytes(), flags)).unwrap(),
            name
        );
    }

    #[test]
    fn a_process_finds_its_own_directory_under_self() {
        becomes("/proc/4711/maps", flag::PROC_SELF, "/proc/self/maps");
        becomes(
            "/proc/4711/task/4712/comm",
            flag::PROC_SELF,
            "/proc/self/task/*/comm",
        );
    }

    #[test]
    fn another_process_is_a_star_whether_or_not_the_kernel_says_so() {
        becomes("/proc/1/environ", flag::PROC_OTHER, "/proc/*/environ");
        becomes("/proc/1/environ", 0, "/proc/*/environ");
    }

    #[test]
    fn other_numbers_stay() {
        becomes("/srv/proc/1/x", flag::PROC_OTHER, "/srv/proc/1/x");
        becomes("/proc/sys/kernel/42", 0, "/proc/sys/kernel/42");
        becomes("/proc/1a/x", flag::PROC_OTHER, "/proc/1a/x");
        becomes("/", 0, "/");
        becomes("", flag::PROC_SELF, "");
        becomes("memfd:1", 0, "memfd:1");
    }

    #[test]
    fn a_path_without_its_beginning_stays_as_it_is() {
        becomes("/proc/1/x", flag::PATH_CUT, "/proc/1/x");
        becomes(
            "/proc/1/x",
            flag::PATH_INCOMPLETE | flag::PROC_SELF,
            "/proc/1/x",
        );
    }
}
