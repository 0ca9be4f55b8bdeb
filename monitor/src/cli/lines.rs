//! What `events` and `alerts` share: a stream of JSON lines, printed as it is or line by line for
//! people.

use serde::{Deserialize, de::DeserializeOwned};

use super::{Global, Stream, in_url, out};
use crate::exit::{Exit, Failure};

/// Asks for the lines of `/v1/{what}` and prints each; `aside` prints what is not one of them.
pub(super) fn run<T: DeserializeOwned>(
    global: &Global,
    stream: &Stream,
    what: &str,
    aside: impl Fn(&str) -> Result<(), Failure>,
    describe: impl Fn(&T) -> Vec<String>,
) -> Result<Exit, Failure> {
    let path = path(what, stream)?;
    global.client()?.lines(&path, |line| {
        if stream.format.json {
            return out::line(line);
        }
        #[derive(Deserialize)]
        struct Lost {
            lost: u64,
        }
        if let Ok(Lost { lost }) = serde_json::from_str(line) {
            let lines = out::count(lost, "line", "lines");
            return aside(&format!(
                "… {lines} lost: they came faster than they were read …"
            ));
        }
        match serde_json::from_str(line) {
            Ok(value) => describe(&value).iter().try_for_each(|text| out::line(text)),
            Err(e) => Err(Failure::new(
                Exit::Failure,
                format!("the daemon sent a line that cannot be read: {e}"),
            )),
        }
    })?;
    Ok(Exit::Ok)
}

fn path(what: &str, stream: &Stream) -> Result<String, Failure> {
    let mut path = format!("/v1/{what}?limit={}", stream.limit);
    if stream.follow {
        path.push_str("&follow=true");
    }
    if let Some(workload) = &stream.workload {
        path.push_str("&workload=");
        path.push_str(in_url(workload)?);
    }
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::Format;

    #[test]
    fn options_become_a_query() {
        let mut stream = Stream {
            follow: false,
            limit: 7,
            workload: None,
            format: Format { json: true },
        };
        assert_eq!(path("events", &stream).unwrap(), "/v1/events?limit=7");
        stream.follow = true;
        stream.workload = Some("a".into());
        assert_eq!(
            path("alerts", &stream).unwrap(),
            "/v1/alerts?limit=7&follow=true&workload=a"
        );
        stream.workload = Some("a&follow=false".into());
        assert!(path("alerts", &stream).is_err());
    }
}
