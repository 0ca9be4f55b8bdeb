//! Tests of the words for formats, and of finding an alert's id in a line.

use super::{super::*, examples};

#[test]
fn every_word_leads_back_and_others_are_told_what_there_is() {
    for format in Format::ALL {
        assert_eq!(format.word().parse(), Ok(format));
        assert_eq!(format.to_string(), format.word());
    }
    assert_eq!(Format::default(), Format::Json);
    let error = "xml\n".parse::<Format>().unwrap_err().to_string();
    assert_eq!(
        error,
        "`xml\\u{a}` is not a format; write one of json, ocsf, ecs, cef, leef, rfc5424"
    );
}

#[test]
fn a_line_of_any_format_tells_its_alert() {
    for alert in examples::alerts() {
        for format in Format::ALL {
            let line = format.render(&alert);
            assert_eq!(
                id_of_line(&line).as_deref(),
                Some(alert.id.as_str()),
                "{line}"
            );
        }
    }
    assert_eq!(id_of_line(""), None);
    assert_eq!(id_of_line("{\"id\":\"a1\"}").as_deref(), Some("a1"));
}

#[test]
fn a_line_that_was_cut_short_is_not_there() {
    let alert = examples::shown();
    for format in Format::ALL {
        let line = format.render(&alert);
        // Where what only repeats begins.
        let end = match format {
            Format::Json | Format::Ocsf | Format::Ecs => line.len(),
            Format::Cef => line.rfind(" msg=").unwrap(),
            Format::Leef => line.rfind("\tmsg=").unwrap(),
            Format::Rfc5424 => line.rfind('\u{feff}').unwrap(),
        };
        for length in (0..end).filter(|n| line.is_char_boundary(*n)) {
            assert_eq!(id_of_line(&line[..length]), None, "{}", &line[..length]);
        }
    }
}
