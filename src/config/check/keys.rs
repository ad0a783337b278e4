//! The keys of a table: unknown ones, missing ones, and what was probably meant.

use super::super::document::{Entry, Node, Value};
use super::super::problem::{KeyPath, Step};
use super::super::shape::{Key, Shape, Table, matches};
use super::{Check, words};

/// Names under which a secret is looked for in other programs' files.
const SECRETS: &[&str] =
    &["secret", "client_secret", "shared_secret", "hmac_secret", "password", "token", "bearer"];

impl Check<'_> {
    pub(super) fn table(&mut self, path: &KeyPath, node: &mut Node, table: &Table) {
        let Value::Table(entries) = &mut node.value else { return };
        let mut meant = Vec::new();
        for entry in entries.iter_mut() {
            let inner = path.key(&entry.key);
            match table.key(&entry.key) {
                Some(key) => self.node(&inner, &mut entry.node, &key.shape),
                None => meant.extend(self.unknown_key(&inner, &entry.key, &table.keys)),
            }
        }
        for key in table.keys.iter().filter(|key| key.required) {
            // A misspelt key has been reported already: that it is missing is the same mistake.
            if !entries.iter().any(|entry| entry.key == key.name) && !meant.contains(&key.name) {
                let message = format!("the key `{}` is missing", key.name);
                self.problems.error(path.clone(), message, missing_hint(path, key));
            }
        }
    }

    /// A table that has none of the keys that would tell what it is.
    pub(super) fn indistinct(&mut self, path: &KeyPath, node: &Node, tables: &[&Table], names: &[String]) {
        let Value::Table(entries) = &node.value else { return };
        let keys: Vec<Key> = tables.iter().flat_map(|table| table.keys.iter().cloned()).collect();
        let unknown: Vec<&Entry> =
            entries.iter().filter(|entry| !keys.iter().any(|key| key.name == entry.key)).collect();
        for entry in &unknown {
            self.unknown_key(&path.key(&entry.key), &entry.key, &keys);
        }
        if unknown.is_empty() {
            let names = words::alternatives(names, |name| format!("`{name}`"));
            self.problems.error(path.clone(), "it does not say what it is", format!("add {names}"));
        }
    }

    /// Reports a key that is not known here; the result are the keys that were probably meant.
    fn unknown_key(&mut self, path: &KeyPath, name: &str, keys: &[Key]) -> Vec<String> {
        if let Some(hint) = inline_secret(name, keys) {
            self.problems.error(path.clone(), "a secret is never written into the file", hint);
            return Vec::new();
        }
        let known: Vec<&str> = keys.iter().map(|key| key.name.as_str()).collect();
        let near = words::nearest(name, &known);
        let hint = match (near.as_slice(), self.homes(path, name).as_slice()) {
            ([], []) => format!("here can be {}", list(keys)),
            ([], homes) => format!("`{name}` belongs in {}", words::alternatives(homes, Clone::clone)),
            (near, _) => format!("did you mean {}?", words::alternatives(near, |near| format!("`{near}`"))),
        };
        self.problems.error(path.clone(), "unknown key", hint);
        near.into_iter().map(str::to_owned).collect()
    }

    /// The tables that do have a key of this name, as far as they are near.
    fn homes(&self, path: &KeyPath, name: &str) -> Vec<String> {
        let mut homes = Vec::new();
        for (known, _) in self.root.paths().into_iter().filter(|(_, key)| key.name == name) {
            let home = known.rsplit_once('.').map_or(known.as_str(), |(table, _)| table);
            let near = path.0.len() == 1 || known == name || same_top(home, path);
            let home =
                if known == name { format!("a table of its own, [{name}]") } else { format!("[{home}]") };
            if near && !matches(&known, path) && !homes.contains(&home) {
                homes.push(home);
            }
        }
        homes.truncate(3);
        homes
    }
}

fn same_top(home: &str, path: &KeyPath) -> bool {
    path.0.first().is_some_and(|step| matches!(step, Step::Key(top) if home.split('.').next() == Some(top)))
}

fn list(keys: &[Key]) -> String {
    words::alternatives(keys, |key| format!("`{}`", key.name))
}

/// What to write instead of a secret: the key of the same name with `_env` or `_file`, or the only such here.
fn inline_secret(name: &str, keys: &[Key]) -> Option<String> {
    let has = |suffix: &str| keys.iter().find(|key| key.name.strip_suffix(suffix) == Some(name));
    let of_any_name =
        || SECRETS.contains(&name).then(|| keys.iter().find(|key| key.name.ends_with("_env")))?;
    let variable = has("_env").or_else(of_any_name)?;
    let stem = variable.name.strip_suffix("_env")?;
    let file = keys.iter().find(|key| key.name.strip_suffix("_file") == Some(stem));
    let or_file = file.map(|file| format!(" or {} = \"path\"", file.name)).unwrap_or_default();
    Some(format!("use {} = \"NAME\"{or_file}", variable.name))
}

fn missing_hint(path: &KeyPath, key: &Key) -> String {
    let place = path.key(&key.name);
    match &key.shape {
        Shape::Map { .. } => format!("add a table [{place}.NAME]: {}", key.meaning),
        Shape::Table(_) => format!("add a table [{place}]: {}", key.meaning),
        Shape::Unknown
        | Shape::Text(_)
        | Shape::Integer { .. }
        | Shape::Boolean
        | Shape::Choice(_)
        | Shape::List { .. }
        | Shape::OneOf(_) => format!("add `{}`: {}", key.name, key.meaning),
    }
}
