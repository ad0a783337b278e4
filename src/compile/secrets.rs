//! `x_env` and `x_file` → a secret.

use super::World;
use crate::authn::keys::source::{read_file, without_final_newline};
use crate::config::problem::{KeyPath, Problems};
use crate::secret::Secret;
use http::HeaderValue;
use std::path::Path;
use zeroize::Zeroizing;

/// Where a secret is looked for.
pub(super) struct Sources<'a> {
    /// What the keys are called, without `_env` and `_file`.
    pub(super) name: &'a str,
    pub(super) variable: Option<&'a str>,
    pub(super) file: Option<&'a Path>,
}

impl Sources<'_> {
    /// The value of an `Authorization` field with the secret as a bearer token (RFC 6750 §2.1), if there is to be one.
    pub(super) fn bearer(&self, at: &KeyPath, world: &World, problems: &mut Problems) -> Option<HeaderValue> {
        let secret = self.optional(at, world, problems)?;
        let mut value = Zeroizing::new(b"Bearer ".to_vec());
        value.extend_from_slice(secret.expose());
        let Ok(mut value) = HeaderValue::from_bytes(&value) else {
            let suffix = if self.variable.is_some() { "env" } else { "file" };
            let at = at.key(&format!("{}_{suffix}", self.name));
            problems.error(at, "it cannot stand in a header", "put the token there and nothing else");
            return None;
        };
        value.set_sensitive(true);
        Some(value)
    }

    /// The secret, from exactly one of both.
    pub(super) fn required(&self, at: &KeyPath, world: &World, problems: &mut Problems) -> Option<Secret> {
        if self.variable.is_none() && self.file.is_none() {
            let name = self.name;
            let hint = format!("set {name}_env to a variable that holds it, or {name}_file to a file");
            problems.error(at.clone(), format!("there is no {name}"), hint);
        }
        self.optional(at, world, problems)
    }

    /// The secret, if there is to be one.
    pub(super) fn optional(&self, at: &KeyPath, world: &World, problems: &mut Problems) -> Option<Secret> {
        let (env_key, file_key) = (format!("{}_env", self.name), format!("{}_file", self.name));
        let (at, read) = match (self.variable, self.file) {
            (None, None) => return None,
            (Some(_), Some(_)) => {
                let message = format!("there are both {env_key} and {file_key}");
                problems.error(at.key(&file_key), message, "keep exactly one of them");
                return None;
            }
            (Some(variable), None) => (at.key(&env_key), from_variable(variable, world)),
            (None, Some(path)) => {
                world.making.depends_on(path);
                (at.key(&file_key), from_file(path))
            }
        };
        match read {
            Ok(secret) if secret.expose().is_empty() => {
                problems.error(at, "it is empty", "put the secret there, without quotes");
                None
            }
            Ok(secret) => Some(secret),
            Err((message, hint)) => {
                problems.error(at, message, hint);
                None
            }
        }
    }
}

type Fault = (String, &'static str);

fn from_variable(name: &str, world: &World) -> Result<Secret, Fault> {
    let value = (world.environment)(name);
    let unset = || (format!("the environment variable {name} is not set"), "set it before sidegate starts");
    value.map(|value| Secret::new(value.into_bytes())).ok_or_else(unset)
}

fn from_file(path: &Path) -> Result<Secret, Fault> {
    let bytes =
        read_file(path).map_err(|error| (error.to_string(), "name a file that this process may read"))?;
    let bytes = Zeroizing::new(bytes);
    Ok(Secret::new(without_final_newline(&bytes).to_vec()))
}
