//! What the command line takes, and the statuses that it ends with.

use super::{Cli, Command, dispatch};
use crate::console::{Console, Status};
use clap::{CommandFactory as _, Parser as _};
use std::path::Path;

fn end(arguments: &[&str]) -> (Status, String, String) {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let arguments = std::iter::once("sidegate").chain(arguments.iter().copied()).map(Into::into);
    let status = dispatch(arguments, &mut Console::new(&mut out, &mut err));
    (status, String::from_utf8(out).unwrap(), String::from_utf8(err).unwrap())
}

#[test]
fn the_definition_is_sound() {
    Cli::command().debug_assert();
}

#[test]
fn every_command_has_an_example() {
    let all = Cli::command();
    let inner = all.get_subcommands().flat_map(|command| command.get_subcommands());
    for command in all.get_subcommands().chain(inner) {
        let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
        assert!(help.starts_with("Example"), "{} has none", command.get_name());
        assert!(command.get_about().is_some(), "{} says nothing", command.get_name());
    }
}

#[test]
fn the_configuration_is_where_it_is_said_to_be() {
    let command = |arguments: &[&str]| Cli::try_parse_from(arguments).unwrap().command;
    let Command::Run { config, .. } = command(&["sidegate", "run", "--config", "a.toml"]) else {
        panic!("no run")
    };
    assert_eq!(config.file, Path::new("a.toml"));
    let Command::Demo { once } = command(&["sidegate", "demo"]) else { panic!("no demo") };
    assert!(!once);
}

#[test]
fn help_and_version_are_answers() {
    let (status, out, err) = end(&["--help"]);
    assert_eq!((status, err.as_str()), (Status::Well, ""));
    assert!(out.contains("64 usage"), "{out}");
    let (status, out, _) = end(&["--version"]);
    assert_eq!((status, out), (Status::Well, format!("sidegate {}\n", env!("CARGO_PKG_VERSION"))));
}

#[test]
fn what_makes_no_sense_is_usage() {
    for arguments in [&[][..], &["fly"], &["run", "--fast"], &["completions", "cobol"], &["run", "--config"]]
    {
        let (status, out, err) = end(arguments);
        assert_eq!((status, out.as_str()), (Status::Usage, ""), "{arguments:?}");
        assert!(!err.is_empty(), "{arguments:?}");
    }
}

#[test]
fn a_missing_file_is_missing_everywhere() {
    for command in ["run", "check"] {
        let (status, out, err) = end(&[command, "--config", "/nonexistent/sidegate.toml"]);
        assert_eq!((status, out.as_str()), (Status::Missing, ""));
        assert!(err.contains("/nonexistent/sidegate.toml"), "{err}");
    }
    let (status, _, err) = end(&["healthcheck", "--config", "/nonexistent/sidegate.toml"]);
    assert_eq!((status, err.lines().count()), (Status::Failed, 1));
}

#[test]
fn a_check_says_ok_or_what_is_wrong() {
    let file = std::env::temp_dir().join(format!("sidegate-{}-check.toml", std::process::id()));
    let name = file.to_str().unwrap();
    std::fs::write(&file, include_str!("demo/demo.toml")).unwrap();
    assert_eq!(end(&["check", "--config", name]), (Status::Well, format!("{name}: ok\n"), String::new()));
    std::fs::write(&file, "[server]\nlisten = 7\n").unwrap();
    let (status, out, err) = end(&["check", "--config", name]);
    assert_eq!((status, out.as_str()), (Status::Configuration, ""));
    assert!(err.contains(name), "{err}");
    std::fs::remove_file(&file).unwrap();
}

#[test]
fn the_schema_and_the_completions_are_printed() {
    let (status, out, _) = end(&["schema"]);
    let schema: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!((status, schema.pointer("/properties/server").is_some()), (Status::Well, true));
    let (status, out, _) = end(&["completions", "bash"]);
    assert!(status == Status::Well && out.contains("_sidegate()"), "{out}");
}
