//! Two formats of the same metrics. The registry writes OpenMetrics; who does not ask for that gets
//! Prometheus' older text format, which every scraper and `promtool` understands.

/// `Content-Type` of OpenMetrics.
pub const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
/// `Content-Type` of the older text format.
pub const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Whether an `Accept` header asks for OpenMetrics at least as much as for anything else that we
/// have.
pub fn wants_openmetrics(accept: &str) -> bool {
    let quality = |media: &str| {
        accept
            .split(',')
            .filter_map(|part| {
                let mut fields = part.split(';').map(str::trim);
                if !fields.next()?.eq_ignore_ascii_case(media) {
                    return None;
                }
                let q = fields.find_map(|f| f.strip_prefix("q=")?.parse::<f32>().ok());
                Some(q.unwrap_or(1.0))
            })
            .fold(0.0, f32::max)
    };
    let wanted = quality("application/openmetrics-text");
    wanted > 0.0 && wanted >= quality("text/plain")
}

/// Turns OpenMetrics into the text format 0.0.4: counters and infos get the name of their series,
/// infos become gauges, units and the end mark go.
pub fn to_text(openmetrics: &str) -> String {
    let mut kinds = std::collections::HashMap::new();
    for line in openmetrics.lines() {
        if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|l| l.split_once(' ')) {
            kinds.insert(name, kind);
        }
    }
    let series = |name: &str| match kinds.get(name) {
        Some(&"counter") => format!("{name}_total"),
        Some(&"info") => format!("{name}_info"),
        _ => name.to_owned(),
    };
    let mut out = String::with_capacity(openmetrics.len());
    for line in openmetrics.lines() {
        if line == "# EOF" || line.starts_with("# UNIT ") {
            continue;
        }
        let described = |prefix| {
            Some(
                line.strip_prefix(prefix)?
                    .split_once(' ')
                    .unwrap_or_default(),
            )
        };
        if let Some((name, help)) = described("# HELP ") {
            out.push_str(&format!("# HELP {} {help}\n", series(name)));
        } else if let Some((name, kind)) = described("# TYPE ") {
            let kind = match kind {
                "info" => "gauge",
                "unknown" => "untyped",
                kind => kind,
            };
            out.push_str(&format!("# TYPE {} {kind}\n", series(name)));
        } else {
            out.push_str(line);
            out.push('\n');
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_asks_for_openmetrics_gets_it() {
        // What Prometheus 2.42 sends.
        assert!(wants_openmetrics(
            "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,\
             text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
        ));
        assert!(wants_openmetrics("Application/OpenMetrics-Text"));
        assert!(!wants_openmetrics("text/plain"));
        assert!(!wants_openmetrics("*/*"));
        assert!(!wants_openmetrics(""));
        assert!(!wants_openmetrics(
            "application/openmetrics-text;q=0.1, text/plain;q=0.9"
        ));
        assert!(!wants_openmetrics("application/openmetrics-text;q=0"));
    }

    #[test]
    fn the_older_format_names_series_not_families() {
        let openmetrics = "# HELP a Things.\n# TYPE a counter\na_total{x=\"1\"} 2\n\
                           # HELP b About.\n# TYPE b info\nb_info{v=\"#\"} 1\n\
                           # HELP c Size.\n# TYPE c gauge\n# UNIT c bytes\nc 3\n# EOF\n";
        assert_eq!(
            to_text(openmetrics),
            "# HELP a_total Things.\n# TYPE a_total counter\na_total{x=\"1\"} 2\n\
             # HELP b_info About.\n# TYPE b_info gauge\nb_info{v=\"#\"} 1\n\
             # HELP c Size.\n# TYPE c gauge\nc 3\n"
        );
    }
}
