//! Order: what follows what within an episode, whom an agent's calls reach, and where text came
//! from before it left.
//!
//! Most of it knows connectors as numbers or words and episodes as slices; [`follow`] makes them of
//! observations. What is done about news it does not know.

pub mod address;
pub mod bigram;
pub mod chain;
pub mod declared;
pub mod follow;
mod followed;
pub mod markov;
pub mod reach;
mod stored;
pub mod trace;
pub mod whole;

pub use stored::Row;
