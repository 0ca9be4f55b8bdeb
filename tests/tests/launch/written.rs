//! What `slmguard exec` writes: its plan, drop-ins for systemd, and the example of a container's
//! entry point.

use super::*;

#[test]
fn the_plan_tells_what_cannot_be_expressed() -> Result<()> {
    let rules = "[workload.allow]\nread = [\"/usr/*/os-release\", \"/proc/self/maps\"]\n\
                 write = [\"/no/such/file\"]\nexec = [\"/bin/true\"]";
    let trial = Trial::guarded(setup().mode("enforce").with(rules))?;
    let plan = plan(&trial, &[])?;
    assert_eq!(
        (&plan["used"], &plan["mode"]),
        (&true.into(), &"enforce".into())
    );
    let notes = plan["not_expressible"].as_array().context("notes")?;
    let noted = |difference: &str, rule: &str| {
        let found = notes
            .iter()
            .any(|n| n["difference"] == difference && n["rule"] == rule);
        assert!(found, "{difference} {rule}: {notes:?}");
    };
    noted("narrower", "read /usr/*/os-release");
    noted("narrower", "write /no/such/file");
    noted("wider", "read /proc");
    if fs::symlink_metadata("/bin")?.is_symlink() {
        noted("narrower", "exec /bin/true");
    }
    let output = run(&trial, &["--explain"], &["/bin/true"])?;
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        told.contains("not expressible, refuses what the policy allows"),
        "{told}"
    );
    assert!(told.contains("io_uring_setup"), "{told}");
    Ok(())
}

#[test]
fn a_drop_in_for_a_unit_is_one_that_systemd_takes() -> Result<()> {
    let trial = Trial::prepared(setup())?;
    let unit = trial.file(
        "scene.service",
        "[Unit]\nDescription=A service of the scene\n[Service]\nExecStart=/bin/sleep \\\n  1\n",
    )?;
    let config = text(&trial.daemon()?.config());
    let print = |words: &[&str]| {
        let mut command = Command::new(trial.daemon()?.program());
        command
            .args(["--config", &config, "exec", "--print-unit"])
            .args(words);
        command::output(command, PATIENCE)
    };
    let output = print(&[&text(&unit)])?;
    let drop_in = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        drop_in.contains("After=slmguard.service"),
        "{drop_in}{}",
        said(&output)
    );
    assert!(
        drop_in.contains("--role server -- /bin/sleep  1\n"),
        "{drop_in}"
    );
    trial.file("scene.service.d/slmguard.conf", &drop_in)?;
    trial.file(
        "slmguard.service",
        "[Unit]\nDescription=The guard\n[Service]\nExecStart=/bin/true\n",
    )?;
    let folder = text(unit.parent().context("a folder")?);
    let verify = || {
        let mut verify = Command::new("systemd-analyze");
        verify
            .args(["--recursive-errors=no", "verify"])
            .arg(&unit)
            .env("SYSTEMD_UNIT_PATH", format!("{folder}:"));
        command::output(verify, PATIENCE)
    };
    let verified = verify()?;
    assert!(verified.status.success(), "{drop_in}\n{}", said(&verified));
    let wrong = trial.file(
        "scene.service.d/zz.conf",
        "[Service]\nExecStart=\nExecStart=/no/such\n",
    )?;
    let refused = verify()?;
    assert!(!refused.status.success(), "it looks at drop-ins");
    assert!(said(&refused).contains("/no/such"), "{}", said(&refused));
    fs::remove_file(wrong)?;
    // A command of one's own, with what systemd would otherwise expand.
    let output = print(&["--workload", WORKLOAD, "--", "/bin/echo", "100%", "$HOME"])?;
    let own = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(own.contains("-- /bin/echo \"100%%\" \"$$HOME\""), "{own}");
    Ok(())
}

#[test]
fn the_container_example_s_entry_point_enrols_out_of_a_pid_namespace() -> Result<()> {
    let file = include_str!("../../../packaging/examples/container/Containerfile");
    let entry = file
        .lines()
        .find_map(|line| line.strip_prefix("ENTRYPOINT "))
        .context("an entry point")?;
    let words: Vec<String> = serde_json::from_str(entry)?;
    let trial = Trial::guarded(setup())?;
    let (program, socket) = (
        text(trial.daemon()?.program()),
        text(&trial.daemon()?.socket()),
    );
    let here = words.iter().map(|word| match word.as_str() {
        "/usr/local/bin/slmguard" => program.as_str(),
        "/run/slmguard/api.sock" => socket.as_str(),
        "assistant" => WORKLOAD,
        other => other,
    });
    let mut command = Command::new("unshare");
    command
        .args(["--fork", "--pid", "--mount-proc"])
        .args(here)
        .args(["/bin/cat", "/proc/self/status"]);
    let output = command::output(command, PATIENCE)?;
    let status = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(status.contains("\nPid:\t1\n"), "{status}{}", said(&output));
    trial
        .daemon()?
        .learned(WORKLOAD, "read", "its status", |s| s == "/proc/self/status")?;
    Ok(())
}
