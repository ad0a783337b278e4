//! The command `sidegate`.

fn main() {}
