//! The configuration as its users meet it: files that load, files that do not, and the pages made from the types.

use super::Config;
use super::document::Document;
use super::load::{LoadError, Loaded, load, parse};
use super::problem::{KeyPath, Problems};
use super::{reference, schema, shape};
use std::fs;
use std::path::{Path, PathBuf};

/// What the files of tests/config may take from the environment.
fn environment(name: &str) -> Option<String> {
    let value = match name {
        "APP_URL" => "http://app:8000",
        "EMPTY" => "",
        "FOUR" => "4",
        "YES" => "true",
        "SECRET_WORD" => "hunter2",
        "ECHO" => "${SECRET_WORD}",
        _ => return None,
    };
    Some(value.to_owned())
}

fn repository() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn files(directory: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(repository().join("tests/config").join(directory)).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    let mut files: Vec<PathBuf> =
        paths.filter(|path| path.extension().is_some_and(|kind| kind == "toml")).collect();
    files.sort();
    assert!(!files.is_empty());
    files
}

fn read(text: &str) -> Loaded {
    parse("dir/sidegate.toml", text, environment).unwrap_or_else(|error| panic!("{error}"))
}

fn report(text: &str) -> String {
    parse("sidegate.toml", text, environment).unwrap_err().to_string()
}

#[test]
fn every_invalid_file_is_explained() {
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path(repository().join("tests/config/invalid"));
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    let _guard = settings.bind_to_scope();
    for path in files("invalid") {
        let name = path.file_name().unwrap().to_str().unwrap();
        let text = fs::read_to_string(&path).unwrap();
        let error = parse(name, &text, environment).expect_err(name);
        assert_eq!(error.exit_status(), 78);
        let error = error.to_string();
        assert!(!error.contains("hunter2"), "{name}: a value of the environment was echoed");
        insta::assert_snapshot!(name.trim_end_matches(".toml"), error);
    }
}

#[test]
fn every_valid_file_is_loaded() {
    for path in files("valid") {
        if let Err(error) = load(&path, environment) {
            panic!("{error}");
        }
    }
}

#[test]
fn the_order_of_the_file_is_kept() {
    let loaded = read(
        "upstreams.zebra.url = 'http://z'\n[authenticators.z]\nkind = 'jwt'\n[authenticators.a]\nkind = 'jwt'\n\
         [upstreams.late.tls]\n[upstreams.ape]\nurl = 'http://a'\n[upstreams.late]\nurl = 'https://l'\n",
    );
    assert_eq!(loaded.config.upstreams.keys().collect::<Vec<_>>(), ["zebra", "late", "ape"]);
    assert_eq!(loaded.config.authenticators.keys().collect::<Vec<_>>(), ["z", "a"]);
}

#[test]
fn relative_paths_start_at_the_directory_of_the_file() {
    let loaded = read(
        "upstreams.a.url = 'http://a'\nupstreams.a.tls.ca_file = 'pki/ca.pem'\n\
         server.tls = { cert_file = '/etc/tls.crt', key_file = '${NOTHING:-tls.key}' }\n",
    );
    let tls = loaded.config.server.tls.unwrap();
    assert_eq!(tls.cert_file, Path::new("/etc/tls.crt"));
    assert_eq!(tls.key_file, Path::new("dir/tls.key"));
    let upstream = loaded.config.upstreams["a"].tls.clone().unwrap();
    assert_eq!(upstream.ca_file.unwrap(), Path::new("dir/pki/ca.pem"));
    assert_eq!(loaded.directory, Path::new("dir"));
}

#[test]
fn the_environment_is_put_into_values_once() {
    let loaded = read(
        "[upstreams.a]\nurl = \"${APP_URL}\" # ${NOT_LOOKED_AT}\nhttp2 = \"${YES}\"\n[server]\nworkers = \"${FOUR}\"\n\
         listen = ['${HOST:-::1}:80', '${EMPTY:-0.0.0.0}:81']\n[response_headers]\nx-a = 'a$${APP_URL}$'\nx-b = '${ECHO}'\n\
         '${NOT_A_KEY}' = '$5{'\n",
    );
    assert_eq!(loaded.config.upstreams["a"].url, "http://app:8000");
    assert!(loaded.config.upstreams["a"].http2);
    assert_eq!(loaded.config.server.workers, 4);
    assert_eq!(loaded.config.server.listen.0, ["::1:80", "0.0.0.0:81"]);
    assert_eq!(loaded.config.response_headers["x-a"], "a${APP_URL}$");
    assert_eq!(loaded.config.response_headers["x-b"], "${SECRET_WORD}");
    assert_eq!(loaded.config.response_headers["${NOT_A_KEY}"], "$5{");
}

#[test]
fn only_a_whole_substitution_becomes_a_number() {
    for workers in ["\"4\"", "\"${FOUR}0\"", "\"$${FOUR}\"", "\"${YES}\"", "4.0"] {
        let report = report(&format!("upstreams.a.url = 'http://a'\nserver.workers = {workers}\n"));
        assert!(report.contains("server.workers: expected a whole number, found"), "{report}");
    }
}

#[test]
fn a_file_that_cannot_be_read_is_another_error() {
    for path in ["no/such/file.toml", "."] {
        let error = load(Path::new(path), environment).unwrap_err();
        assert_eq!(error.exit_status(), 66);
        assert!(error.to_string().starts_with(&format!("{path}: error: ")), "{error}");
        assert!(matches!(error, LoadError::Unreadable { .. }));
    }
}

#[test]
fn a_file_that_is_not_text_is_placed() {
    let path = std::env::temp_dir().join(format!("sidegate-not-utf8-{}.toml", std::process::id()));
    fs::write(&path, b"[server]\nlisten = \"\xff\"\n").unwrap();
    let error = load(&path, environment).unwrap_err();
    fs::remove_file(&path).unwrap();
    assert_eq!(error.exit_status(), 78);
    assert!(error.to_string().contains(".toml:2:11: error: this is not UTF-8"), "{error}");
}

#[test]
fn later_findings_are_placed_at_the_nearest_key() {
    let text = "[upstreams.a]\nurl = 'http://a'\n\n[[routes]]\npath = '/a'\n[[routes]]\n  path = '/ä'; "
        .replace(';', "");
    let document: Document = read(&text).document;
    let mut problems = Problems::default();
    let route = KeyPath::root("routes").index(1);
    problems.warning(route.key("path"), "can never match", "remove it");
    problems.error(route.key("upstream").key("x"), "no such upstream", "there is `a`");
    problems.error(KeyPath::root("upstreams").key("a").key("url"), "has a path", "remove it");
    problems.error(KeyPath::root("nowhere"), "is absent", "add it");
    insta::assert_snapshot!(document.render(&problems), @r"
    dir/sidegate.toml:1:1: error: nowhere: is absent
      hint: add it
    dir/sidegate.toml:2:1: error: upstreams.a.url: has a path
      hint: remove it
    dir/sidegate.toml:6:1: error: routes[1].upstream.x: no such upstream
      hint: there is `a`
    dir/sidegate.toml:7:3: warning: routes[1].path: can never match
      hint: remove it
    3 errors, 1 warning in dir/sidegate.toml
    ");
}

#[test]
fn a_default_configuration_survives_being_written_and_read() {
    let config = read("upstreams.a.url = 'http://a'\n[authenticators.j]\nkind = 'jwt'\n").config;
    let json = serde_json::to_value(&config).unwrap();
    let again: Config = serde_json::from_value(json.clone()).unwrap();
    assert_eq!(serde_json::to_value(&again).unwrap(), json);
}

mod generated;
