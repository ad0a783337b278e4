//! From a file to a checked configuration: parse, substitute, check, deserialize.

use super::Config;
use super::check::check;
use super::document::{Document, Node, Value};
use super::environment::substitute;
use super::problem::{KeyPath, Problems, Step};
use super::schema;
use std::io;
use std::path::{Path, PathBuf};

/// A configuration that is well-formed; what its values mean together is checked when it is compiled.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The values. Relative paths have been led to `directory`.
    pub config: Config,
    /// The file, to report later findings with their place.
    pub document: Document,
    /// The directory of the file.
    pub directory: PathBuf,
    /// The file itself, if it is one that can be read again.
    pub file: Option<PathBuf>,
}

/// Why there is no configuration. `Display` is the whole report, ready to be printed.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The file does not exist or cannot be read.
    #[error("{name}: error: {message}\n  hint: {hint}\n")]
    Unreadable {
        /// The path as it was given.
        name: String,
        /// What is wrong.
        message: String,
        /// What to do about it.
        hint: &'static str,
    },
    /// The file was read, but is no configuration.
    #[error("{report}")]
    Invalid {
        /// Every finding about the form, with its place and hint.
        report: String,
        /// What is left without the parts that these are about, if that is a configuration at all.
        rest: Option<Box<Rest>>,
    },
}

/// What a file says besides what is wrong with its form: good for finding what is wrong with its meaning as well,
/// so that both are reported at once, and for nothing else.
#[derive(Debug)]
pub struct Rest {
    loaded: Loaded,
    problems: Problems,
}

impl Rest {
    /// The configuration without the faulty parts; it must not be served.
    #[must_use]
    pub const fn loaded(&self) -> &Loaded {
        &self.loaded
    }

    /// The report of what is wrong with the form, and of what was found in the rest.
    #[must_use]
    pub fn report(&self, found: Problems) -> String {
        let mut all = self.problems.clone();
        // What is said of a table that a part was taken from may be no more than that it lacks this part.
        let misled = |about: &KeyPath| self.problems.0.iter().any(|known| known.path.0.starts_with(&about.0));
        all.0.extend(found.0.into_iter().filter(|problem| !misled(&problem.path)));
        self.loaded.document.render(&all)
    }
}

impl LoadError {
    /// The exit status of a command that needs the configuration (sysexits.h): 66 for a file that cannot be read,
    /// 78 for one that is wrong.
    #[must_use]
    pub const fn exit_status(&self) -> u8 {
        match self {
            Self::Unreadable { .. } => 66,
            Self::Invalid { .. } => 78,
        }
    }
}

/// Loads a file; `environment` looks up what `${NAME}` stands for.
///
/// # Errors
/// When the file cannot be read, or with everything that is wrong with it at once.
pub fn load(path: &Path, environment: impl Fn(&str) -> Option<String>) -> Result<Loaded, LoadError> {
    let name = path.display().to_string();
    let bytes = std::fs::read(path).map_err(|error| unreadable(name.clone(), &error))?;
    match String::from_utf8(bytes) {
        Ok(text) => {
            let loaded = parse_in(parent(path), &name, &text, &environment)?;
            Ok(Loaded { file: Some(path.to_owned()), ..loaded })
        }
        Err(error) => {
            let valid = error.utf8_error().valid_up_to();
            let text = String::from_utf8_lossy(error.as_bytes()).into_owned();
            Err(LoadError::Invalid { report: super::report::not_utf8(&name, &text, valid), rest: None })
        }
    }
}

/// Loads text that is not in a file, or not yet; `name` is what findings are reported under, and its directory the
/// one that relative paths start from.
///
/// # Errors
/// With everything that is wrong with the text at once.
pub fn parse(
    name: &str,
    text: &str,
    environment: impl Fn(&str) -> Option<String>,
) -> Result<Loaded, LoadError> {
    parse_in(parent(Path::new(name)), name, text, &environment)
}

fn parent(path: &Path) -> PathBuf {
    path.parent().unwrap_or(Path::new("")).to_owned()
}

fn unreadable(name: String, error: &io::Error) -> LoadError {
    let known = [
        (
            io::ErrorKind::NotFound,
            "no such file",
            "name it with --config or SIDEGATE_CONFIG; config.example.toml is one to start from",
        ),
        (
            io::ErrorKind::PermissionDenied,
            "permission denied",
            "let the user that sidegate runs as read the file",
        ),
        (io::ErrorKind::IsADirectory, "this is a directory", "name the file inside it"),
    ];
    let (message, hint) = match known.into_iter().find(|(kind, ..)| *kind == error.kind()) {
        Some((_, message, hint)) => (message.to_owned(), hint),
        None => (error.to_string(), "the file must be readable"),
    };
    LoadError::Unreadable { name, message, hint }
}

fn parse_in(
    directory: PathBuf,
    name: &str,
    text: &str,
    environment: &dyn Fn(&str) -> Option<String>,
) -> Result<Loaded, LoadError> {
    let mut document =
        Document::parse(name, text).map_err(|report| LoadError::Invalid { report, rest: None })?;
    let mut tree = document.tree();
    let mut problems = substitute(&mut tree, environment);
    document.hide(&tree);
    problems.0.extend(check(&mut tree, &schema::shape(), &directory).0);
    let json = to_json(tree);
    if problems.has_errors() {
        let report = document.render(&problems);
        return Err(LoadError::Invalid { report, rest: rest(json, document, directory, problems) });
    }
    match serde_json::from_value(json.clone()) {
        Ok(config) => Ok(Loaded { config, document, directory, file: None }),
        Err(error) => {
            Err(LoadError::Invalid { report: document.render(&leftover(&json, &error)), rest: None })
        }
    }
}

/// Takes the faulty parts out. An element of a list cannot be taken out without renaming all that follow, so there
/// is no rest where one of them is at fault as a whole.
fn rest(
    mut json: serde_json::Value,
    document: Document,
    directory: PathBuf,
    problems: Problems,
) -> Option<Box<Rest>> {
    for problem in &problems.0 {
        let (last, above) = problem.path.0.split_last()?;
        let Step::Key(last) = last else { return None };
        let table = above.iter().try_fold(&mut json, |value, step| match step {
            Step::Key(key) => value.get_mut(key.as_str()),
            Step::Index(index) => value.get_mut(*index),
        });
        if let Some(table) = table.and_then(serde_json::Value::as_object_mut) {
            table.remove(last);
        }
    }
    let config = serde_json::from_value(json).ok()?;
    Some(Box::new(Rest { loaded: Loaded { config, document, directory, file: None }, problems }))
}

/// What the types refuse although the check passed it: a defect here, but one that still names its table.
///
/// The message of serde is left out when it may hold a value, which may have come from the environment.
fn leftover(json: &serde_json::Value, error: &serde_json::Error) -> Problems {
    let mut problems = Problems::default();
    let without = |key: &String| {
        let mut rest = json.clone();
        rest.as_object_mut().map(|table| table.remove(key));
        serde_json::from_value::<Config>(rest).is_ok()
    };
    let culprit = json.as_object().and_then(|table| table.keys().find(|key| without(key)));
    let path = culprit.map_or_else(KeyPath::default, |key| KeyPath::root(key));
    let text = error.to_string();
    let message = if text.contains('`') || text.contains('"') { "cannot be read" } else { &text };
    problems.error(path, message, "this is a defect of sidegate, please report it together with the table");
    problems
}

fn to_json(node: Node) -> serde_json::Value {
    match node.value {
        Value::Text(text) => text.value.into(),
        Value::Integer(integer) => integer.into(),
        Value::Boolean(boolean) => boolean.into(),
        Value::List(items) => items.into_iter().map(to_json).collect(),
        Value::Table(entries) => entries.into_iter().map(|entry| (entry.key, to_json(entry.node))).collect(),
        // No shape accepts these, so that they do not get here.
        Value::Faulty | Value::Float | Value::Datetime(_) => serde_json::Value::Null,
    }
}
