//! Plain values in maps: aya's `Pod` for types of another crate.

use monitor_common::{
    class::Class,
    endpoint::DestinationKey,
    enrol::{ArgumentKey, ExecutableKey, ExecutableRules},
    hash::HashKey,
    hook::HookCounters,
    listener::{Listener, ListenerKey},
    name::{HostKey, NameKey},
    offsets::Offsets,
    path::{PolicyRoot, State, TransitionKey},
    proxy::ProxyKey,
    seen::{Seen, SeenKey},
    socket::{FlowKey, FlowSum, Owner, Traffic},
};

/// A value of the ABI as a map value or key.
#[derive(Clone, Copy, Debug)]
#[repr(transparent)]
pub struct Plain<T>(pub T);

macro_rules! plain {
    ($($t:ty),+ $(,)?) => {
        $(
            // SAFETY: a `repr(C)` struct of integers without padding (asserted in monitor-common):
            // every bit pattern is a value, and no byte of it is uninitialised.
            unsafe impl aya::Pod for Plain<$t> {}
        )+
    };
}
plain!(
    Class,
    DestinationKey,
    ArgumentKey,
    ExecutableKey,
    ExecutableRules,
    HashKey,
    HostKey,
    HookCounters,
    Listener,
    ListenerKey,
    NameKey,
    Offsets,
    PolicyRoot,
    ProxyKey,
    State,
    TransitionKey,
    Seen,
    SeenKey,
    FlowKey,
    FlowSum,
    Owner,
    Traffic,
);
