//! Detection: what a process says about itself (arguments, names, cgroup, configuration of tools,
//! tables of sockets), from processes that may want to look like something else.
//!
//! Lines: program, cgroup, arguments and mapped files; then a table of sockets; and all of it as a
//! configuration of tools.

#![no_main]

use slmguard_core::{
    config::is_workload_name,
    detect::{
        FileSeen, How, ProcessFacts, capability, grouping, mcp, naming, score, socket, telling,
    },
};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let _ = mcp::parse_config(data);
    let text = String::from_utf8_lossy(data);
    let sockets = socket::parse(&text);
    let _ = socket::callers(&sockets, &[1, 2], &[80, 8080]);
    let mut lines = text.lines();
    let mut next = || lines.next().unwrap_or_default().to_owned();
    let (exe, comm, cgroup) = (next(), next(), next());
    let grouped = grouping::grouping(&cgroup);
    let _ = grouping::template(&cgroup);
    let argv: Vec<String> = next().split('\0').map(str::to_owned).collect();
    let libraries: Vec<String> = next().split('\0').map(str::to_owned).collect();
    let files = next()
        .split('\0')
        .map(|path| FileSeen {
            path: path.to_owned(),
            size: 1 << 30,
            format: None,
            how: How::Mapped,
        })
        .collect();
    let facts = ProcessFacts {
        exe,
        comm,
        argv,
        libraries,
        files,
        ports: vec![8080],
        cgroup,
        ..ProcessFacts::default()
    };
    let _ = (
        capability::declared(&facts),
        capability::mcp_sources(&facts),
    );
    let verdict = score(&facts);
    assert_eq!(score(&facts), verdict, "the same facts, the same verdict");
    // What a workload is called goes into files, labels and URLs.
    let free = |_: &str| false;
    let name = naming::name(verdict.detector, &facts.exe, None, &grouped, &free);
    assert!(is_workload_name(&name), "{name:?}");
    let told = telling(&facts, verdict.detector).unwrap_or_default();
    assert!(told.arguments.iter().all(|a| facts.argv.contains(a)));
    let _ = naming::key(verdict.detector, &facts.exe, &told.arguments, &grouped);
});
