//! `${NAME}` and `${NAME:-default}` inside strings, replaced from the environment before types are checked.
//!
//! Only strings that are values: never keys, never comments, and what was put in is not looked at again.

use super::document::{Node, Text, Value};
use super::problem::{KeyPath, Problems};

/// How a variable is looked up; `None` = not set.
pub(super) type Environment<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Replaces every `${…}` in the tree. What cannot be replaced is reported, and `Faulty` from then on.
pub(super) fn substitute(root: &mut Node, environment: Environment<'_>) -> Problems {
    let mut problems = Problems::default();
    visit(&KeyPath::default(), root, environment, &mut problems);
    problems
}

fn visit(path: &KeyPath, node: &mut Node, environment: Environment<'_>, problems: &mut Problems) {
    match &mut node.value {
        Value::Text(text) => {
            if !expand(path, text, environment, problems) {
                node.value = Value::Faulty;
            }
        }
        Value::List(items) => {
            for (index, item) in items.iter_mut().enumerate() {
                visit(&path.index(index), item, environment, problems);
            }
        }
        Value::Table(entries) => {
            for entry in entries {
                visit(&path.key(&entry.key), &mut entry.node, environment, problems);
            }
        }
        Value::Faulty | Value::Integer(_) | Value::Float | Value::Boolean(_) | Value::Datetime(_) => {}
    }
}

/// A piece of a string.
enum Piece<'a> {
    Literal(&'a str),
    Variable { name: &'a str, default: Option<&'a str> },
}

/// Puts the pieces together; false if one of them is missing or broken.
fn expand(path: &KeyPath, text: &mut Text, environment: Environment<'_>, problems: &mut Problems) -> bool {
    let pieces = match split(&text.value) {
        Ok(pieces) => pieces,
        Err(message) => {
            problems.error(
                path.clone(),
                message,
                "write ${NAME} or ${NAME:-default}, without another ${ inside; $${ is a literal ${",
            );
            return false;
        }
    };
    let mut expanded = String::new();
    let mut complete = true;
    for piece in &pieces {
        match piece {
            Piece::Literal(literal) => expanded.push_str(literal),
            Piece::Variable { name, default } => {
                if let Some(value) = look_up(name, *default, environment) {
                    expanded.push_str(&value);
                } else {
                    complete = false;
                    problems.error(
                        path.clone(),
                        format!("the environment variable `{name}` is not set"),
                        format!("set it, or give a default: ${{{name}:-…}}; a literal ${{ is written $${{"),
                    );
                }
            }
        }
    }
    let whole = matches!(pieces.as_slice(), [Piece::Variable { .. }]);
    let substituted = pieces.iter().any(|piece| matches!(piece, Piece::Variable { .. }));
    let template = substituted.then(|| text.value.clone());
    *text = Text { value: expanded, template, whole };
    complete
}

/// As in a shell, `:-` also stands in for a variable that is set but empty.
fn look_up(name: &str, default: Option<&str>, environment: Environment<'_>) -> Option<String> {
    let value = environment(name);
    match default {
        Some(default) => Some(value.filter(|value| !value.is_empty()).unwrap_or_else(|| default.to_owned())),
        None => value,
    }
}

fn split(text: &str) -> Result<Vec<Piece<'_>>, &'static str> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        if let Some(before) = before.strip_suffix('$') {
            pieces.extend([Piece::Literal(before), Piece::Literal("${")]);
            rest = after;
            continue;
        }
        if !before.is_empty() {
            pieces.push(Piece::Literal(before));
        }
        let (inside, after) = after.split_once('}').ok_or("a ${ that is never closed")?;
        pieces.push(variable(inside)?);
        rest = after;
    }
    if !rest.is_empty() {
        pieces.push(Piece::Literal(rest));
    }
    Ok(pieces)
}

fn variable(inside: &str) -> Result<Piece<'_>, &'static str> {
    if inside.contains("${") {
        return Err("a ${ inside another");
    }
    let (name, default) =
        inside.split_once(":-").map_or((inside, None), |(name, default)| (name, Some(default)));
    if is_name(name) {
        Ok(Piece::Variable { name, default })
    } else {
        Err("a ${ without the name of a variable")
    }
}

/// Whether this can be the name of an environment variable (POSIX.1-2017 §8.1, and lower case).
pub(super) fn is_name(name: &str) -> bool {
    let starts_well = name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_');
    starts_well && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}
