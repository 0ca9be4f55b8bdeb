//! Exec family: a program that was started.

use monitor_common::{class::NONE, limits::EVENT_ARGV, path::permission};

use super::{ClassNames, DecodeError, Reader, file, scope};
use crate::observation::Fact;

pub(super) fn exec(
    body: &mut Reader,
    flags: u8,
    classes: &dyn ClassNames,
) -> Result<Fact, DecodeError> {
    let inode = (body.u64("device")?, body.u64("inode")?);
    body.u64("hash")?;
    let after = body.u16("after")?;
    let path_length = body.u16("path_length")?;
    let argv_length = body.u16("argv_length")?;
    body.u16("zero")?;
    let argv = Reader::new(&body.array::<EVENT_ARGV>("argv")?)
        .take("argv_length", argv_length.into())
        .map(split)?;
    let path = body.take("path_length", path_length.into())?;
    let after = match after {
        NONE => None,
        class => Some(scope(classes, "after", class)?),
    };
    Ok(Fact::Exec {
        program: file(path, flags, inode, permission::EXEC),
        argv,
        after,
    })
}

/// Arguments are followed by a zero byte each; the last one may have lost its end.
fn split(bytes: &[u8]) -> Vec<Vec<u8>> {
    let Some(last) = bytes.last() else {
        return vec![];
    };
    let whole = if *last == 0 {
        &bytes[..bytes.len() - 1]
    } else {
        bytes
    };
    whole.split(|b| *b == 0).map(<[u8]>::to_vec).collect()
}
