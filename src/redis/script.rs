//! A Lua script that Redis keeps: it is sent by its digest, and in full only to a server that does not know it yet.

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use redis::{Arg, Cmd, cmd};
use std::fmt::Write as _;

/// A script.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Script {
    text: &'static str,
    digest: String,
}

impl Script {
    /// The script of that text.
    #[must_use]
    pub fn new(text: &'static str) -> Self {
        // Redis names scripts by their SHA-1; nothing depends on its strength.
        let sum = digest(&SHA1_FOR_LEGACY_USE_ONLY, text.as_bytes());
        let digest = sum.as_ref().iter().fold(String::new(), |mut hex, byte| {
            // Writing to a String does not fail.
            write!(hex, "{byte:02x}").ok();
            hex
        });
        Self { text, digest }
    }

    /// What it says.
    #[must_use]
    pub const fn text(&self) -> &'static str {
        self.text
    }

    /// What Redis calls it.
    #[must_use]
    pub fn digest(&self) -> &str {
        &self.digest
    }
}

/// The same call with the text in place of the digest.
pub(super) fn in_full(command: &Cmd, text: &str) -> Cmd {
    let mut whole = cmd("EVAL");
    whole.arg(text);
    for argument in command.args_iter().skip(2) {
        // There are cursors as well, but not in the call of a script.
        if let Arg::Simple(bytes) = argument {
            whole.arg(bytes);
        }
    }
    whole
}

#[cfg(test)]
mod tests {
    use super::{Script, in_full};
    use redis::cmd;

    #[test]
    fn a_script_is_named_as_redis_names_it() {
        // Of `redis-cli script load "return 1"`.
        assert_eq!(Script::new("return 1").digest(), "e0e1f9fabfc9d4800c877a703b823ac0578ff8db");
    }

    #[test]
    fn a_call_in_full_has_the_same_keys_and_arguments() {
        let mut by_digest = cmd("EVALSHA");
        by_digest.arg("e0e1").arg(1).arg("key").arg(b"\x00\xff");
        let mut expected = cmd("EVAL");
        expected.arg("return 1").arg(1).arg("key").arg(b"\x00\xff");
        assert_eq!(in_full(&by_digest, "return 1").get_packed_command(), expected.get_packed_command());
    }
}
