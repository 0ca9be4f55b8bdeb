//! Objects of a format as types: what is absent is left out of the JSON, for every field alike.
//!
//! A literal of such a type names every field, so that none is forgotten; a field that a schema
//! demands is not an `Option`.

/// Whether a field is left out.
pub trait Absent {
    /// True where there is nothing to say.
    fn absent(&self) -> bool {
        false
    }
}

impl<T> Absent for Option<T> {
    fn absent(&self) -> bool {
        self.is_none()
    }
}
impl<T> Absent for Vec<T> {
    fn absent(&self) -> bool {
        self.is_empty()
    }
}
impl Absent for bool {}
impl Absent for u32 {}
impl Absent for u64 {}
impl Absent for i64 {}
impl Absent for String {}
impl Absent for &str {}

/// Types whose fields are left out where [`Absent`] says so.
macro_rules! objects {
    ($($(#[$meta:meta])* $name:ident { $($(#[$note:meta])* $field:ident: $type:ty,)* })*) => {$(
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq, serde::Serialize)]
        pub struct $name {
            $(
                $(#[$note])*
                #[serde(skip_serializing_if = "crate::alert::format::object::Absent::absent")]
                pub $field: $type,
            )*
        }
        impl crate::alert::format::object::Absent for $name {}
    )*};
}
pub(super) use objects;
