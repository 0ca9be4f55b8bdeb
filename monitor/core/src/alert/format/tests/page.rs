//! The page `docs/formats.md`, from the formats themselves: a test prints it, and fails where
//! what is committed is stale.

use super::{super::Format, examples};

/// What stands above the examples.
const HEAD: &str = include_str!("page_head.md");

/// The page as it is committed.
const COMMITTED: &str = include_str!("../../../../../../docs/formats.md");

fn page() -> String {
    let alert = examples::shown();
    let mut page = HEAD.to_owned();
    for format in Format::ALL {
        let (title, text) = match format {
            Format::Json => (
                "json",
                "The alert as it is stored; [events.md](events.md#alerts) describes it.",
            ),
            Format::Ocsf => ("ocsf", "OCSF 1.8.0, Detection Finding."),
            Format::Ecs => ("ecs", "Elastic Common Schema 9.4.0."),
            Format::Cef => ("cef", "ArcSight Common Event Format 0."),
            Format::Leef => ("leef", "IBM LEEF 2.0. Between the fields are tabs."),
            Format::Rfc5424 => (
                "rfc5424",
                "RFC 5424. Before the text at the end is the mark of UTF-8 (U+FEFF).",
            ),
        };
        let line = format.render(&alert);
        page.push_str(&format!("\n### {title}\n{text}\n\n```\n{line}\n```\n"));
    }
    page
}

#[test]
fn the_page_shows_what_the_formats_are() {
    let page = page();
    // `cargo xtask formats` takes it from here.
    println!("PAGE BEGINS\n{page}PAGE ENDS");
    assert!(
        page == COMMITTED,
        "docs/formats.md is stale; `cargo xtask formats` writes it"
    );
}
