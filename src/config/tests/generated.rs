//! What is made from the types, or must keep up with them.

use super::*;
use crate::config::problem::Step;
use crate::config::shape::{Format, Shape};
use serde_json::Value;
use std::collections::BTreeSet;

#[test]
fn the_reference_is_up_to_date() {
    let path = repository().join("docs/configuration.md");
    let wanted = reference::reference();
    if std::env::var_os("UPDATE").is_some() {
        fs::write(&path, &wanted).unwrap();
    }
    let written = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        written == wanted,
        "docs/configuration.md is not what the types say; rewrite it: UPDATE=1 cargo test --lib config::tests::generated"
    );
}

#[test]
fn the_reference_links_to_its_own_sections() {
    let page = reference::reference();
    let anchor = |title: &str| {
        let kept = |letter: &char| letter.is_alphanumeric() || matches!(letter, ' ' | '_' | '-');
        title.to_lowercase().chars().filter(kept).collect::<String>().trim().replace(' ', "-")
    };
    let anchors: Vec<String> = page.lines().filter_map(|line| line.strip_prefix("## ")).map(anchor).collect();
    for link in page.split("](#").skip(1) {
        let link = link.split(')').next().unwrap().to_owned();
        assert!(anchors.contains(&link), "#{link} leads nowhere");
    }
}

#[test]
fn the_checks_understand_every_keyword_of_the_types() {
    fn keywords(schema: &Value, found: &mut BTreeSet<String>) {
        let Some(schema) = schema.as_object() else { return };
        for (keyword, value) in schema {
            found.insert(keyword.clone());
            match (keyword.as_str(), value) {
                ("properties" | "$defs", Value::Object(schemas)) => {
                    for schema in schemas.values() {
                        keywords(schema, found);
                    }
                }
                ("anyOf" | "oneOf", Value::Array(schemas)) => {
                    for schema in schemas {
                        keywords(schema, found);
                    }
                }
                ("items" | "additionalProperties", schema) => keywords(schema, found),
                _ => {}
            }
        }
    }
    let mut found = BTreeSet::new();
    keywords(&schema::raw(), &mut found);
    let known: BTreeSet<String> = shape::KEYWORDS.iter().map(|&keyword| keyword.to_owned()).collect();
    assert_eq!(found, known, "src/config/shape.rs must read exactly the keywords that are used");
    assert!(!format!("{:?}", schema::shape()).contains("Unknown"));
}

#[test]
fn every_key_says_what_it_means_and_every_file_is_a_path() {
    for (path, key) in schema::shape().paths() {
        assert!(!key.meaning.is_empty() || key.name == "kind", "{path} has no doc comment");
        if let Shape::Text(text) = &key.shape {
            assert_eq!(
                key.name.ends_with("_file") || key.name == "file",
                text.format == Format::Path,
                "{path}"
            );
            assert_eq!(key.name.ends_with("_env"), text.format == Format::Variable, "{path}");
        }
    }
}

#[test]
fn the_published_schema_is_plain_json_schema() {
    let schema = schema::schema();
    let text = schema.to_string();
    assert_eq!(schema["title"], "sidegate configuration");
    assert!(!text.contains("\"null\"") && !text.contains(":null"), "TOML has none");
    assert!(!text.contains("\"minimum\":\"") && !text.contains("\"maximum\":\""), "bounds are numbers");
    assert_eq!(schema["$defs"]["Server"]["properties"]["workers"]["anyOf"][0]["maximum"], 65_535);
}

/// A tree of `text` under `header`, if it is TOML.
fn paths_of(header: &str, text: &str) -> Option<Vec<KeyPath>> {
    fn collect(path: &KeyPath, value: &toml::de::DeValue<'_>, paths: &mut Vec<KeyPath>) {
        if let Some(table) = value.as_table() {
            for (key, value) in table {
                let path = path.key(key.get_ref());
                paths.push(path.clone());
                collect(&path, value.get_ref(), paths);
            }
        }
        for (index, item) in value.as_array().into_iter().flatten().enumerate() {
            collect(&path.index(index), item.get_ref(), paths);
        }
    }
    let text = format!("{header}\n{text}");
    let table = toml::de::DeTable::parse(&text).ok()?.into_inner();
    let mut paths = Vec::new();
    collect(&KeyPath::default(), &toml::de::DeValue::Table(table), &mut paths);
    Some(paths)
}

/// The example line by line, as if nothing were commented out: `#key = value` is a setting, `# text` is prose.
fn example_paths() -> Vec<KeyPath> {
    let text = fs::read_to_string(repository().join("config.example.toml")).unwrap();
    let mut header = String::new();
    let mut setting = String::new();
    let mut paths = Vec::new();
    for line in text.lines() {
        let line = line.strip_prefix('#').filter(|rest| !rest.starts_with(' ')).unwrap_or(line);
        if line.starts_with('[') {
            line.clone_into(&mut header);
            paths.extend(paths_of(line, "").unwrap_or_else(|| panic!("{line} is no header")));
        } else if !line.is_empty() && !line.starts_with('#') {
            setting.push_str(line);
            setting.push('\n');
            if let Some(found) = paths_of(&header, &setting) {
                paths.extend(found);
                setting.clear();
            }
        }
    }
    assert_eq!(setting, "", "this is not TOML");
    paths
}

#[test]
fn the_example_shows_every_key_and_no_other() {
    let shape = schema::shape();
    let patterns: Vec<String> = shape.paths().into_iter().map(|(path, _)| path).collect();
    let shown = example_paths();
    // This one means something in routes only.
    for pattern in patterns.iter().filter(|pattern| *pattern != "policy.require.inherit") {
        assert!(
            shown.iter().any(|path| shape::matches(pattern, path)),
            "config.example.toml does not show {pattern}"
        );
    }
    let named = [
        "upstreams.NAME",
        "authenticators.NAME",
        "authenticators.NAME.claims.NAME",
        "identity.headers.NAME",
        "facade.validate.NAME",
        "policy.require.quotas.NAME",
        "routes.require.quotas.NAME",
        "response_headers.NAME",
        "tracing.attributes.NAME",
    ];
    for path in &shown {
        let known =
            patterns.iter().map(String::as_str).chain(named).any(|pattern| shape::matches(pattern, path));
        assert!(
            known || matches!(path.0.last(), Some(Step::Index(_))),
            "config.example.toml shows {path}, which is no key"
        );
    }
}

#[test]
fn the_example_loads_with_an_empty_environment() {
    let loaded = load(&repository().join("config.example.toml"), |_| None);
    if let Err(error) = loaded {
        panic!("{error}");
    }
}

#[test]
fn every_setting_that_the_example_comments_out_is_valid() {
    let text = fs::read_to_string(repository().join("config.example.toml")).unwrap();
    let uncommented = |line: &str| {
        line.strip_prefix('#')
            .filter(|rest| !rest.starts_with([' ', '#']) && !rest.is_empty())
            .map(str::to_owned)
    };
    let lines: Vec<&str> = text.lines().collect();
    for (position, line) in lines.iter().enumerate() {
        let Some(setting) = uncommented(line).filter(|setting| !setting.starts_with('[')) else { continue };
        let before = |line: &&&str| line.trim_start_matches('#').starts_with('[');
        let header =
            lines[..position].iter().rev().find(before).map_or("", |line| line.trim_start_matches('#'));
        let Err(error) = parse("line", &format!("{header}\n{setting}\n"), environment) else { continue };
        let error = error.to_string();
        let others: Vec<&str> =
            error.lines().filter(|line| line.starts_with("line:") && !line.contains("is missing")).collect();
        assert!(others.is_empty(), "{header}\n{setting}\n{others:?}");
    }
}

/// Whatever stands where: a file either loads or is explained, and what passes the checks is never refused by the types.
#[test]
fn the_checks_leave_nothing_to_the_types() {
    let text = fs::read_to_string(repository().join("config.example.toml")).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    for (position, line) in lines.iter().enumerate() {
        let Some((key, _)) = line.split_once(" = ").filter(|(key, _)| !key.contains([' ', '{'])) else {
            continue;
        };
        for sample in SAMPLES {
            let changed = format!("{} = {sample}", key.trim_start_matches('#'));
            let mut lines = lines.clone();
            lines[position] = &changed;
            let Err(error) = parse("sidegate.toml", &lines.join("\n"), |_| None) else { continue };
            assert!(!error.to_string().contains("defect"), "{changed}\n{error}");
        }
    }
}

const SAMPLES: &[&str] = &[
    "1",
    "-1",
    "1.5",
    "true",
    "1979-05-27",
    "''",
    "'x'",
    "'5s'",
    "[]",
    "['x']",
    "[1]",
    "[[]]",
    "[{}]",
    "{}",
    "{ claim = [] }",
    "{ claim = 'x' }",
    "{ value = 1 }",
    "{ value = [] }",
    "{ header = 'x' }",
    "{ attribute = 'x' }",
];

proptest::proptest! {
    #[test]
    fn no_text_is_too_strange_to_be_explained(
        words in proptest::collection::vec(proptest::sample::select(WORDS), 0..40),
    ) {
        let text = words.concat();
        if let Err(error) = parse("sidegate.toml", &text, environment) {
            let report = error.to_string();
            proptest::prop_assert!(report.starts_with("sidegate.toml:") && !report.contains("defect"), "{}", report);
        }
    }
}

const WORDS: &[&str] = &[
    "[",
    "]",
    "[[",
    "]]",
    "{",
    "}",
    "=",
    " = ",
    ".",
    ",",
    "\n",
    "\n",
    "\n",
    "#",
    "'",
    "\"",
    "'''",
    "\"\"\"",
    "\\",
    "ä",
    "${",
    "$${",
    "${FOUR}",
    "${NOPE:-}",
    "1",
    "-1",
    "1.0",
    "true",
    "1979-05-27",
    "inf",
    "0x1F",
    "_",
    "\r",
    "\t",
    "\u{feff}",
    "upstreams.a.url = 'http://a'\n",
    "[upstreams.a]\n",
    "[server]\n",
    "[[routes]]\n",
    "[authenticators.a]\n",
    "kind = 'jwt'\n",
    "path = '/a'\n",
    "url = 'http://a'\n",
    "workers = ",
    "listen = ",
    "require.roles = ['a']\n",
    "credentials = [{ header = 'a' }]\n",
    "claims = ",
    "value",
    "claim",
];
