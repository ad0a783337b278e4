//! What is well formed, but cannot be meant: each file has a snapshot of what its author reads.

use super::{World, compile};
use crate::clock::SystemClock;
use crate::config::load::{load, parse};
use crate::config::problem::Problems;
use std::path::Path;
use std::sync::Arc;

#[test]
fn what_comes_from_the_environment_is_not_shown() {
    let text = "[server]\nlisten = \"${PLACE}\"\n[upstreams.a]\nurl = \"http://127.0.0.1:1\"\n[policy]\naccess = \"public\"\n";
    let loaded = parse("sidegate.toml", text, |_| Some("hunter2".to_owned())).unwrap();
    let world = World { environment: Arc::new(|_| None), ..World::of_process(Arc::new(SystemClock), false) };
    let mut problems = Problems::default();
    assert!(compile(&loaded.config, &world, &mut problems).is_none());
    let report = loaded.document.render(&problems);
    assert!(!report.contains("hunter2"), "{report}");
    assert!(report.contains("sidegate.toml:2:1: error: server.listen[0]: \"${PLACE}\" is not"), "{report}");
}

fn report(name: &str) -> String {
    rustls::crypto::aws_lc_rs::default_provider().install_default().ok();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/config/contradictory").join(name);
    let loaded = load(&path, |_| None).unwrap_or_else(|error| panic!("{error}"));
    let world = World { environment: Arc::new(|_| None), ..World::of_process(Arc::new(SystemClock), false) };
    let mut problems = Problems::default();
    let compiled = compile(&loaded.config, &world, &mut problems);
    assert_eq!(compiled.is_none(), problems.has_errors(), "there is a generation unless something is wrong");
    loaded.document.render(&problems).replace(&format!("{}/", path.parent().unwrap().display()), "")
}

#[test]
fn contradictions_are_named_with_their_place_and_a_hint() {
    for name in [
        "afresh",
        "api-keys",
        "assertion",
        "authenticators",
        "authorities",
        "cors",
        "cors-for-all",
        "everybody",
        "expressions",
        "identity",
        "judges",
        "nobody",
        "routes",
        "upstreams",
        "warnings",
    ] {
        insta::with_settings!({
            snapshot_path => "../../tests/config/contradictory",
            prepend_module_to_snapshot => false,
            omit_expression => true,
        }, {
            insta::assert_snapshot!(name, report(&format!("{name}.toml")));
        });
    }
}
