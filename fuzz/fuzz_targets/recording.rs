//! Recordings: any bytes, and lines whose checksums are right so that the search gets behind them.
//!
//! Whatever is read can be written again, and reads the same.

#![no_main]

use slmguard_core::recording::{Reader, Record, first_line, line};
use slmguard_fuzz::is_harmless;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    read(data);
    let mut text = first_line().into_bytes();
    for json in data.split(|b| *b == b'\n') {
        text.extend(format!("{:08x} ", crc32(json)).bytes());
        text.extend(json);
        text.push(b'\n');
    }
    let mut again = first_line();
    for record in read(&text) {
        again.extend(line(&record));
    }
    let records = read(again.as_bytes());
    let lines: Option<String> = records.iter().map(line).collect();
    assert_eq!(lines, Some(again[first_line().len()..].to_owned()));
});

fn read(bytes: &[u8]) -> Vec<Record> {
    let (mut reader, mut records) = (Reader::default(), vec![]);
    for line in bytes.split_inclusive(|b| *b == b'\n') {
        match reader.line(line) {
            Ok(record) => records.extend(record),
            Err(error) => {
                is_harmless(&error.to_string());
                return records;
            }
        }
    }
    let _ = reader.finish();
    records
}

/// The checksum bit by bit, apart from the table that it checks.
fn crc32(bytes: &[u8]) -> u32 {
    let step = |crc: u32, byte: &u8| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            crc >> 1 ^ 0xedb8_8320 * (crc & 1)
        })
    };
    !bytes.iter().fold(!0, step)
}
