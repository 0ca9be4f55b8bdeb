//! Order: what follows what within an episode, whom an agent's calls reach, and where text came
//! from before it left.
//!
//! It knows connectors as numbers or words and episodes as slices; how the shell tells one request
//! from the next, and what is done about news, it does not know.

pub mod address;
pub mod bigram;
pub mod chain;
pub mod markov;
pub mod reach;
