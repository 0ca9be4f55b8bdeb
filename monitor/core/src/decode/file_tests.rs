//! Tests of decoding what is done with names, mappings and facilities.

use monitor_common::{
    class::{Mode, Phase, Role},
    event::{change::Action, map::protection},
    facility::Facility,
    limits::LARGE_FILE,
    path::permission::{EXEC, READ, WRITE},
};

use super::*;

struct Phases;
impl ClassNames for Phases {
    fn scope(&self, class: ClassId) -> Option<Scope> {
        let phase = match class {
            3 => Phase::Start,
            4 => Phase::Serve,
            _ => return None,
        };
        Some(Scope {
            workload: "w".into(),
            role: Role::Server,
            phase,
        })
    }
}

fn of(kind: Kind, class: ClassId) -> Header {
    Header {
        class,
        kind: kind as u8,
        mode: Mode::Learn as u8,
        ..Header::default()
    }
}

fn read(bytes: &[u8]) -> Result<Observation, DecodeError> {
    decode(bytes, &Phases, ClockOffset::default())
}

#[test]
fn changes_arrive_with_their_action() {
    for action in Action::ALL {
        let bytes = encode::change(&of(Kind::Change, 3), (1, 2), action as u8, b"/a/b");
        let seen = read(&bytes).unwrap();
        assert_eq!(seen.families(), [Family::Write]);
        let Fact::Change { action: got, file } = seen.fact else {
            panic!("{:?}", seen.fact)
        };
        assert_eq!((got, file.access, file.inode), (action, WRITE, (1, 2)));
        assert_eq!(file.path, b"/a/b");
    }
    let bytes = encode::change(&of(Kind::Change, 3), (1, 2), 11, b"/a/b");
    let field = "action";
    assert_eq!(
        read(&bytes).unwrap_err(),
        DecodeError::Unknown { field, value: 11 }
    );
}

#[test]
fn a_change_that_ends_early_is_refused_at_every_length() {
    let bytes = encode::change(&of(Kind::Change, 3), (1, 2), 1, b"/a/b");
    for length in 0..bytes.len() {
        assert!(read(&bytes[..length]).is_err(), "{length}");
    }
}

#[test]
fn mappings_arrive_with_size_and_protection() {
    let wanted = protection::READ | protection::EXEC;
    let seen = read(&encode::map(&of(Kind::Map, 3), 7, wanted, 1, b"/lib/x")).unwrap();
    assert!(seen.families().is_empty(), "nothing is learned from them");
    let Fact::Map {
        file,
        size,
        protection,
        shared,
    } = seen.fact
    else {
        panic!("{:?}", seen.fact)
    };
    assert_eq!((size, protection, shared), (7, wanted, true));
    assert_eq!(file.access, READ | EXEC);
}

#[test]
fn a_large_file_is_a_model_that_is_loaded_or_replaced() {
    let stage = |class, size, protection| {
        let bytes = encode::map(&of(Kind::Map, class), size, protection, 0, b"/m.gguf");
        read(&bytes).unwrap().stage()
    };
    assert_eq!(stage(3, LARGE_FILE, protection::READ), Some(Phase::Load));
    assert_eq!(stage(4, LARGE_FILE, protection::READ), Some(Phase::Reload));
    assert_eq!(stage(4, LARGE_FILE - 1, protection::READ), None);
    let library = protection::READ | protection::EXEC;
    assert_eq!(stage(4, LARGE_FILE, library), None);
}

#[test]
fn facilities_arrive_by_name() {
    for facility in Facility::ALL {
        let bytes = encode::facility(&of(Kind::Facility, 3), *facility as u32, [1, 2, 3]);
        let seen = read(&bytes).unwrap();
        assert_eq!(seen.subject(), facility.name());
        assert_eq!(
            seen.fact,
            Fact::Facility {
                facility: *facility,
                detail: [1, 2, 3]
            }
        );
    }
    let bytes = encode::facility(&of(Kind::Facility, 3), 63, [0; 3]);
    let field = "facility";
    assert_eq!(
        read(&bytes).unwrap_err(),
        DecodeError::Unknown { field, value: 63 }
    );
}
