//! Names that a guarded workload adds, moves and removes. The proof is what is
//! there afterwards. The cgroup tier kills whoever is not known to change names,
//! after the fact.

use std::fs;
use std::path::Path;

use anyhow::Result;
use scene::probe::{Fate, Order};
use scene::trial::{Setup, Trial, text};

const SECRET: &str = "the secret of this file";

/// What the victims see of each change: whether it has happened.
type Evidence = Box<dyn Fn() -> bool>;

fn exists(path: &Path) -> Evidence {
    let path = path.to_owned();
    Box::new(move || path.symlink_metadata().is_ok())
}

fn gone(path: &Path) -> Evidence {
    let exists = exists(path);
    Box::new(move || !exists())
}

/// One change, the facility as which the cgroup tier knows it, what it is
/// about, and its evidence.
struct Change {
    order: Order,
    facility: &'static str,
    subject: String,
    happened: Evidence,
}

fn removal(trial: &Trial) -> Result<Change> {
    let file = trial.file("removed", SECRET)?;
    Ok(Change {
        order: Order::Remove(file.clone()),
        facility: "names:remove",
        subject: text(&file),
        happened: gone(&file),
    })
}

fn removal_of_directory(trial: &Trial) -> Result<Change> {
    let folder = trial.path("removed-folder");
    fs::create_dir(&folder)?;
    Ok(Change {
        order: Order::RemoveDirectory(folder.clone()),
        facility: "names:remove",
        subject: text(&folder),
        happened: gone(&folder),
    })
}

fn cut(trial: &Trial) -> Result<Change> {
    let file = trial.file("cut", SECRET)?;
    let victim = file.clone();
    Ok(Change {
        order: Order::Cut(file.clone()),
        facility: "names:remove",
        subject: text(&file),
        happened: Box::new(move || fs::read_to_string(&victim).is_ok_and(|left| left.is_empty())),
    })
}

fn symbolic_link(trial: &Trial) -> Result<Change> {
    let link = trial.path("symbolic-link");
    Ok(Change {
        order: Order::Symlink("/etc/hostname".into(), link.clone()),
        facility: "names:add",
        subject: text(&link),
        happened: exists(&link),
    })
}

fn directory(trial: &Trial) -> Result<Change> {
    let folder = trial.path("new-folder");
    Ok(Change {
        order: Order::MakeDirectory(folder.clone()),
        facility: "names:add",
        subject: text(&folder),
        happened: exists(&folder),
    })
}

fn renaming(trial: &Trial) -> Result<Change> {
    let (from, to) = (trial.file("old-name", SECRET)?, trial.path("new-name"));
    Ok(Change {
        order: Order::Rename(from.clone(), to.clone()),
        facility: "names:move",
        subject: text(&from),
        happened: exists(&to),
    })
}

fn linking(trial: &Trial) -> Result<Change> {
    let (from, to) = (trial.file("one-name", SECRET)?, trial.path("another-name"));
    Ok(Change {
        order: Order::Link(from.clone(), to.clone()),
        facility: "names:move",
        subject: text(&from),
        happened: exists(&to),
    })
}

const CHANGES: [fn(&Trial) -> Result<Change>; 7] = [
    removal,
    removal_of_directory,
    cut,
    symbolic_link,
    directory,
    renaming,
    linking,
];

#[test]
fn without_a_guard_every_change_happens() -> Result<()> {
    let trial = Trial::unguarded()?;
    let mut probe = trial.member()?;
    for change in CHANGES {
        let change = change(&trial)?;
        assert!(!(change.happened)(), "{:?}", change.order);
        assert!(probe.ask(&change.order)?.worked(), "{:?}", change.order);
        assert!((change.happened)(), "{:?}", change.order);
    }
    let created = trial.path("created");
    assert!(probe.ask(&Order::Create(created.clone()))?.worked());
    assert!(created.exists());
    Ok(())
}

/// The workload is held to doing nothing, and then does this.
fn stopped(change: fn(&Trial) -> Result<Change>) -> Result<()> {
    let trial = Trial::guarded(Setup::tool())?;
    trial.learn_and_enforce(&[])?;
    let change = change(&trial)?;
    let fate = trial.member()?.ask(&change.order)?;
    if trial.daemon()?.tier()? == "lsm" {
        assert_eq!(fate, Fate::EPERM);
        assert!(!(change.happened)());
        let alert = trial.alert("change", &change.subject)?;
        assert_eq!(
            (alert["verdict"].as_str(), &alert["prevented"]),
            (Some("blocked"), &true.into())
        );
    } else {
        assert_eq!(fate, Fate::SHOT);
        assert!((change.happened)(), "this tier only kills afterwards");
        let alert = trial.alert("facility", change.facility)?;
        assert_eq!(
            (alert["verdict"].as_str(), &alert["prevented"]),
            (Some("killed"), &false.into())
        );
    }
    Ok(())
}

#[test]
fn a_file_outside_the_policy_is_not_removed() -> Result<()> {
    stopped(removal)
}

#[test]
fn a_directory_outside_the_policy_is_not_removed() -> Result<()> {
    stopped(removal_of_directory)
}

#[test]
fn a_file_outside_the_policy_is_not_cut() -> Result<()> {
    stopped(cut)
}

#[test]
fn a_symbolic_link_outside_the_policy_is_not_made() -> Result<()> {
    stopped(symbolic_link)
}

#[test]
fn a_directory_outside_the_policy_is_not_made() -> Result<()> {
    stopped(directory)
}

#[test]
fn a_file_outside_the_policy_is_not_renamed() -> Result<()> {
    stopped(renaming)
}

#[test]
fn a_file_outside_the_policy_is_not_linked() -> Result<()> {
    stopped(linking)
}

#[test]
fn who_never_removed_a_name_is_stopped_at_the_first() -> Result<()> {
    let trial = Trial::guarded(Setup::tool())?;
    let renamed = renaming(&trial)?;
    trial.learn_and_enforce(std::slice::from_ref(&renamed.order))?;
    let removed = removal(&trial)?;
    let fate = trial.member()?.ask(&removed.order)?;
    assert_eq!(
        fate,
        trial.undeniable(Fate::SHOT)?,
        "renaming was learned, removing was not"
    );
    Ok(())
}

#[test]
fn what_was_changed_while_learning_may_be_changed_again() -> Result<()> {
    let trial = Trial::guarded(Setup::tool())?;
    let folder = trial.path("cache");
    let (draft, model) = (folder.join("draft"), folder.join("model"));
    let life = [
        Order::MakeDirectory(folder.clone()),
        Order::Create(draft.clone()),
        Order::Rename(draft.clone(), model.clone()),
        Order::Cut(model.clone()),
        Order::Link(model.clone(), draft.clone()),
        Order::Remove(draft),
        Order::Remove(model),
        Order::RemoveDirectory(folder),
    ];
    trial.learn_and_enforce(&life)?;
    let mut probe = trial.member()?;
    for order in &life {
        assert_eq!(probe.ask(order)?, Fate::Done(String::new()), "{order:?}");
    }
    Ok(())
}

#[test]
fn an_open_that_is_denied_creates_nothing() -> Result<()> {
    let trial = Trial::guarded(Setup::tool())?;
    trial.learn_and_enforce(&[])?;
    let file = trial.path("created");
    let fate = trial.member()?.ask(&Order::Create(file.clone()))?;
    assert_eq!(fate, trial.undeniable(Fate::SHOT)?);
    if trial.daemon()?.tier()? == "lsm" {
        assert!(!file.exists());
        assert_eq!(trial.alert("change", &text(&file))?["hook"], "lsm_mknod");
    } else {
        assert!(file.exists(), "this tier only kills afterwards");
        trial.alert("open", &text(&file))?;
    }
    Ok(())
}

/// An operator allows everything in a folder, where a credential file lies: it
/// must not get a name that is not guarded.
fn kept_out_of_reach(order: fn(&Trial) -> Order) -> Result<()> {
    let setup = Setup::tool();
    let trial = Trial::prepared(
        setup.with("[workload.allow]\nread = [\"/**/open/**\"]\nwrite = [\"/**/open/**\"]"),
    )?;
    trial.file("open/.aws/credentials", SECRET)?;
    trial.daemon()?.launch()?;
    trial.learn_and_enforce(&[])?;
    let credentials = trial.path("open/.aws/credentials");
    let fate = trial.member()?.ask(&order(&trial))?;
    assert_eq!(fate, trial.undeniable(Fate::SHOT)?);
    let lsm = trial.daemon()?.tier()? == "lsm";
    let names = [
        trial.path("open/notes"),
        trial.path("open/notes/credentials"),
    ];
    let moved = names.iter().any(|name| name.is_file());
    assert_eq!(moved, !lsm, "the cgroup tier only kills afterwards");
    if lsm {
        assert_eq!(fs::read_to_string(credentials)?, SECRET);
        let alerts = trial.daemon()?.alerts()?;
        let change = alerts.iter().find(|alert| alert["kind"] == "change");
        assert_eq!(
            change.map(|alert| (&alert["verdict"], &alert["prevented"])),
            Some((&"blocked".into(), &true.into()))
        );
        let mut probe = trial.member()?;
        for name in names {
            let read = Order::Read(name);
            assert!(!probe.ask(&read)?.worked(), "{read:?}");
        }
    }
    Ok(())
}

#[test]
fn a_credential_file_is_not_renamed_into_reach() -> Result<()> {
    kept_out_of_reach(|trial| {
        Order::Rename(
            trial.path("open/.aws/credentials"),
            trial.path("open/notes"),
        )
    })
}

#[test]
fn a_credential_file_is_not_linked_into_reach() -> Result<()> {
    kept_out_of_reach(|trial| {
        Order::Link(
            trial.path("open/.aws/credentials"),
            trial.path("open/notes"),
        )
    })
}

#[test]
fn a_folder_is_not_renamed_so_that_credentials_come_into_reach() -> Result<()> {
    kept_out_of_reach(|trial| Order::Rename(trial.path("open/.aws"), trial.path("open/notes")))
}

#[test]
fn without_a_guard_credentials_are_read_under_another_name() -> Result<()> {
    let trial = Trial::unguarded()?;
    let credentials = trial.file("open/.aws/credentials", SECRET)?;
    let notes = trial.path("open/notes");
    let mut probe = trial.member()?;
    assert!(
        probe
            .ask(&Order::Link(credentials.clone(), notes.clone()))?
            .worked()
    );
    assert_eq!(
        probe.ask(&Order::Read(notes.clone()))?,
        Fate::Done(SECRET.into())
    );
    assert!(probe.ask(&Order::Remove(notes.clone()))?.worked());
    assert!(
        probe
            .ask(&Order::Rename(trial.path("open/.aws"), notes.clone()))?
            .worked()
    );
    let moved = Order::Read(notes.join("credentials"));
    assert_eq!(probe.ask(&moved)?, Fate::Done(SECRET.into()));
    Ok(())
}

#[test]
fn files_and_folders_that_hide_nothing_may_be_renamed_where_that_is_allowed() -> Result<()> {
    let rules = "[workload.allow]\nread = [\"/**/open/**\"]\nwrite = [\"/**/open/**\"]\nfacilities = [\"names:move\"]";
    let trial = Trial::guarded(Setup::tool().with(rules))?;
    trial.file("open/folder/file", SECRET)?;
    trial.learn_and_enforce(&[])?;
    let mut probe = trial.member()?;
    let (folder, other) = (trial.path("open/folder"), trial.path("open/other"));
    assert!(probe.ask(&Order::Rename(folder, other.clone()))?.worked());
    let (file, last) = (other.join("file"), trial.path("open/last"));
    assert!(probe.ask(&Order::Rename(file, last.clone()))?.worked());
    assert_eq!(probe.ask(&Order::Read(last))?, Fate::Done(SECRET.into()));
    Ok(())
}

#[test]
fn monitor_mode_lets_a_change_happen_and_tells() -> Result<()> {
    let trial = Trial::guarded(Setup::tool().mode("monitor"))?;
    let change = removal(&trial)?;
    assert!(trial.member()?.ask(&change.order)?.worked());
    assert!((change.happened)());
    let (kind, subject) = match trial.daemon()?.tier()?.as_str() {
        "lsm" => ("change", change.subject.as_str()),
        _ => ("facility", change.facility),
    };
    assert_eq!(trial.alert(kind, subject)?["verdict"], "would_block");
    Ok(())
}
