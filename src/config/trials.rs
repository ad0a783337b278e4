//! The files of `sidegate test`: requests, and what is expected to become of them.
//!
//! They are checked as strictly as the configuration, by the same code.

use super::check::check;
use super::document::Document;
use super::load::LoadError;
use super::problem::{KeyPath, Problems};
use super::shape::Shape;
use super::units::OneOrMany;
use indexmap::IndexMap;
use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use std::borrow::Cow;
use std::path::Path;

/// A file of tests.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Trials {
    /// The tests.
    #[schemars(length(min = 1))]
    pub tests: Vec<Trial>,
}

/// One request, and what is expected to become of it.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Trial {
    /// What is tested.
    pub name: String,
    /// The request.
    pub request: Request,
    /// The claims of its credential, taken as verified.
    pub claims: Option<Claims>,
    /// Whose claims they are; default: those of the first authenticator of the rule that has claims.
    pub authenticator: Option<String>,
    /// A token, sent as `Authorization: Bearer`; only for keys from files.
    pub token: Option<String>,
    /// What is known about the customer besides.
    pub facts: Option<Facts>,
    /// What is expected.
    pub expect: Expect,
}

fn get() -> String {
    "GET".to_owned()
}

/// A request.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// The method; default: GET.
    #[serde(default = "get")]
    pub method: String,
    /// The path, and a query if there is one.
    pub path: String,
    /// The host; default: localhost.
    pub host: Option<String>,
    /// Header fields; one that is sent several times is a list.
    #[serde(default)]
    pub headers: IndexMap<String, OneOrMany<String>>,
    /// Whether it asks for a WebSocket.
    #[serde(default)]
    pub websocket: bool,
    /// The address that the connection comes from; default: none, as on a unix socket.
    pub client: Option<String>,
}

/// Claims: any table.
#[derive(Clone, Debug, Deserialize)]
pub struct Claims(pub toml::Table);

impl JsonSchema for Claims {
    fn schema_name() -> Cow<'static, str> {
        "Claims".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "object", "additionalProperties": {} })
    }
}

/// What is known about the customer.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Facts {
    /// What the customer may do.
    pub capabilities: Vec<String>,
    /// How much of it.
    pub quotas: IndexMap<String, Amount>,
}

/// A quota.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Amount {
    /// So much.
    Limit(i64),
    /// As much as anybody likes.
    Unlimited(Unlimited),
}

/// The word for a quota without a limit.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Unlimited {
    /// As much as anybody likes.
    Unlimited,
}

/// What is expected; what is left out may be anything.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Expect {
    /// The status of a refusal; 200 stands for the service's own answer.
    pub status: Option<u16>,
    /// The reason, as in the log.
    pub reason: Option<String>,
    /// What is decided.
    pub decision: Option<Decision>,
    /// The name of the route; "policy" where none fits.
    pub route: Option<String>,
    /// Header fields that the service gets; "" = it gets none of that name.
    pub headers: IndexMap<String, FieldValue>,
}

/// What is decided about a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Decision {
    /// It passes.
    Allow,
    /// It is refused.
    Deny,
    /// It passes in shadow mode, and would be refused otherwise.
    WouldDeny,
}

/// The value of a header field; it may be empty.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct FieldValue(pub String);

impl JsonSchema for FieldValue {
    fn schema_name() -> Cow<'static, str> {
        "FieldValue".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "minLength": 0 })
    }
}

/// Tests that are well-formed, and their file, to report later findings with their place.
#[derive(Clone, Debug)]
pub struct LoadedTrials {
    /// The tests.
    pub trials: Vec<Trial>,
    /// The file.
    pub document: Document,
}

/// Loads a file of tests.
///
/// # Errors
/// When the file cannot be read, or with everything that is wrong with it at once.
pub fn load(path: &Path) -> Result<LoadedTrials, LoadError> {
    let name = path.display().to_string();
    let text = std::fs::read_to_string(path).map_err(|error| LoadError::Unreadable {
        name: name.clone(),
        message: error.to_string(),
        hint: "name a file with [[tests]], in UTF-8",
    })?;
    parse(&name, &text)
}

/// Loads text that is not in a file; `name` is what findings are reported under.
///
/// # Errors
/// With everything that is wrong with the text at once.
pub fn parse(name: &str, text: &str) -> Result<LoadedTrials, LoadError> {
    let invalid = |report| LoadError::Invalid { report, rest: None };
    let document = Document::parse(name, text).map_err(invalid)?;
    let problems = check(&mut document.tree(), &shape(), Path::new(""));
    if problems.has_errors() {
        return Err(invalid(document.render(&problems)));
    }
    match toml::from_str::<Trials>(text) {
        Ok(Trials { tests: trials }) => Ok(LoadedTrials { trials, document }),
        Err(error) => {
            let mut problems = Problems::default();
            problems.error(
                KeyPath::root("tests"),
                error.message(),
                "this is a defect of sidegate, please report it",
            );
            Err(invalid(document.render(&problems)))
        }
    }
}

fn shape() -> Shape {
    let schema = SchemaSettings::draft2020_12().into_generator().into_root_schema_for::<Trials>();
    Shape::read(&schema.to_value())
}
