//! Makes seeds of the corpora `events` and `recording` out of recordings of the daemon: one event of
//! each sort, and a recording with one record of each.
//!
//! `seeds CORPUS RECORDING...`

use std::{collections::BTreeMap, error::Error, fs, path::Path};

use slmguard_core::recording::{Reader, Record, first_line, line};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let corpus = arguments.next().ok_or("usage: seeds CORPUS RECORDING...")?;
    let mut events = BTreeMap::new();
    for file in arguments {
        let name = Path::new(&file).file_stem().unwrap_or_default();
        let text = fs::read(&file)?;
        let mut reader = Reader::default();
        let mut sorts = BTreeMap::new();
        let mut short = first_line();
        for bytes in text.split_inclusive(|b| *b == b'\n') {
            let Some(record) = reader.line(bytes)? else {
                continue;
            };
            let sort = match &record {
                Record::Event { bytes, id, .. } => {
                    // Kind, hook, verdict, flags, family and mode tell sorts of events apart.
                    let sort = bytes.0.get(54..60).unwrap_or_default().to_vec();
                    events.entry(sort).or_insert_with(|| bytes.0.clone());
                    format!("event {}", id.is_some())
                }
                other => other.kind().into(),
            };
            let seen: &mut u32 = sorts.entry(sort).or_default();
            *seen += 1;
            if *seen <= 2 {
                short.extend(line(&record));
            }
        }
        let folder = Path::new(&corpus).join("recording");
        fs::create_dir_all(&folder)?;
        fs::write(
            folder.join(format!("seed-{}", name.to_string_lossy())),
            short,
        )?;
    }
    let folder = Path::new(&corpus).join("events");
    fs::create_dir_all(&folder)?;
    for (sort, bytes) in events {
        let name: String = sort.iter().map(|b| format!("{b:02x}")).collect();
        fs::write(folder.join(format!("seed-{name}")), bytes)?;
    }
    Ok(())
}
