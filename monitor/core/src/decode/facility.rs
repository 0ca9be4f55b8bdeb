//! Facility family: rarely needed parts of the kernel.

use monitor_common::facility::Facility;

use super::{DecodeError, Reader};
use crate::observation::Fact;

pub(super) fn facility(body: &mut Reader) -> Result<Fact, DecodeError> {
    let number = body.u32("facility")?;
    let facility = Facility::from_u32(number).ok_or(DecodeError::Unknown {
        field: "facility",
        value: number.into(),
    })?;
    let detail = [
        body.u32("detail")?,
        body.u32("detail")?,
        body.u32("detail")?,
    ];
    Ok(Fact::Facility { facility, detail })
}
