//! Generated and mutated streams: pieces make no difference, nothing is worse than refused, and hyper reads what we do.

mod requests;
mod responses;
