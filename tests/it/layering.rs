//! The floors of the house: a file imports only from lower floors, and nothing imports in circles.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// Top-level modules from the ground up.
const FLOORS: &[&[&str]] = &[
    &["footprint"],
    &[
        "allowance",
        "quotas",
        "clock",
        "secret",
        "target",
        "denial",
        "descriptors",
        "hex",
        "single",
        "peer",
        "random",
        "notify",
        "pem",
        "shutdown",
        "stamp",
        "standing",
    ],
    &["identity"],
    &["facts"],
    &[
        "config",
        "telemetry",
        "outbound",
        "json",
        "inquiry",
        "local_http",
        "redis",
        "server_tls",
        "stream",
        "request_id",
        "console",
    ],
    &["rates", "revocation"],
    &["assertion", "authn", "headers", "entitlements", "wire"],
    &["policy", "sessions", "revoking", "certificate"],
    &["entitle", "leases"],
    &["proxy", "admin", "generation", "compile"],
    &["decide"],
    &["gateway", "facade", "reload"],
    &["listener", "worker"],
    &["app", "explain"],
    &["trial"],
    &["cli"],
    &["main"],
];

/// Modules of one floor that may import each other, as long as no circle comes of it.
const SIBLINGS: &[(&str, &str)] = &[
    ("target", "denial"),
    ("telemetry", "config"),
    ("inquiry", "outbound"),
    ("inquiry", "telemetry"),
    ("server_tls", "config"),
    ("telemetry", "request_id"),
    ("telemetry", "outbound"),
    ("assertion", "headers"),
    ("entitlements", "authn"),
    ("generation", "proxy"),
    ("compile", "generation"),
    ("compile", "proxy"),
    ("worker", "listener"),
];

fn floor(module: &str) -> usize {
    let found = FLOORS.iter().position(|floor| floor.contains(&module));
    found.unwrap_or_else(|| panic!("{module} has no floor: give it one, here and in the architecture"))
}

/// A module (`authn::jwks`) and the modules whose names follow `crate::` in its file.
type Imports = BTreeMap<String, BTreeSet<String>>;

/// Reads every file under `src`, except unit tests.
fn imports() -> Imports {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Imports::new();
    let mut pending = vec![root.clone()];
    while let Some(folder) = pending.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let module =
                path.strip_prefix(&root).unwrap().with_extension("").to_string_lossy().replace('/', "::");
            if module.split("::").any(|part| part == "tests") {
                continue;
            }
            if path.is_dir() {
                pending.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") && module != "lib" {
                let text = std::fs::read_to_string(&path).unwrap();
                found.insert(module.clone(), named(&module, &text));
            }
        }
    }
    found
}

/// The modules that a file names: after `crate::`, `sidegate::` and `super::`, lists in braces included.
fn named(module: &str, text: &str) -> BTreeSet<String> {
    let code: Vec<&str> = text.split("#[cfg(test)]").next().unwrap().lines().map(code_of).collect();
    let code = code.join("\n");
    let parent = module.rsplit_once("::").map_or("", |(parent, _)| parent);
    let mut found = BTreeSet::new();
    for (marker, base) in [("crate::", ""), ("sidegate::", ""), ("super::", parent)] {
        for (position, _) in code.match_indices(marker) {
            let before = code[..position].chars().next_back();
            if before.is_some_and(|letter| letter.is_alphanumeric() || letter == '_' || letter == ':') {
                continue;
            }
            for path in paths(&code[position + marker.len()..]) {
                let whole = if base.is_empty() { path } else { format!("{base}::{path}") };
                found.insert(whole);
            }
        }
    }
    found
}

/// A line without its comment.
fn code_of(line: &str) -> &str {
    line.split("//").next().unwrap_or_default()
}

/// The module paths at the beginning of this text: `a::b::C` is `a::b`, `{a, b::C}` is `a` and `b`.
fn paths(text: &str) -> Vec<String> {
    if let Some(list) = text.strip_prefix('{') {
        let mut depth = 0_usize;
        let end = list.find(|letter| match letter {
            '{' => {
                depth += 1;
                false
            }
            '}' if depth == 0 => true,
            '}' => {
                depth -= 1;
                false
            }
            _ => false,
        });
        let mut depth = 0_usize;
        let items = list[..end.unwrap_or(list.len())].split(|letter| match letter {
            '{' => {
                depth += 1;
                false
            }
            '}' => {
                depth -= 1;
                false
            }
            ',' => depth == 0,
            _ => false,
        });
        return items.flat_map(|item| paths(item.trim_start())).collect();
    }
    let name = |letter: char| letter.is_lowercase() || letter == '_' || letter.is_ascii_digit();
    let mut parts = Vec::new();
    let mut rest = text;
    loop {
        let end = rest.find(|letter| !name(letter)).unwrap_or(rest.len());
        let (part, after) = rest.split_at(end);
        // Not a module but an item: a type, a constant, or a function at the end of the path.
        let item = after.starts_with(|letter: char| letter.is_alphanumeric());
        if part.is_empty() || item {
            break;
        }
        parts.push(part.to_owned());
        match after.strip_prefix("::") {
            Some(next) if next.starts_with('{') => {
                let prefix = parts.join("::");
                let inner = paths(next).into_iter().map(|path| format!("{prefix}::{path}"));
                return std::iter::once(prefix.clone()).chain(inner).collect();
            }
            Some(next) => rest = next,
            None => break,
        }
    }
    if parts.is_empty() { Vec::new() } else { vec![parts.join("::")] }
}

fn top(module: &str) -> &str {
    module.split("::").next().unwrap_or(module)
}

/// The module that a path leads to: the longest beginning that is a file.
fn resolved<'a>(imports: &'a Imports, path: &str) -> Option<&'a str> {
    let mut path = path;
    loop {
        if let Some((module, _)) = imports.get_key_value(path) {
            return Some(module);
        }
        path = path.rsplit_once("::")?.0;
    }
}

#[test]
fn a_file_imports_only_from_lower_floors() {
    let mut breaches = Vec::new();
    for (module, named) in &imports() {
        for path in named {
            let (from, to) = (top(module), top(path));
            if from == to || !FLOORS.concat().contains(&to) {
                continue;
            }
            let allowed = floor(to) < floor(from) || SIBLINGS.contains(&(from, to));
            if !allowed {
                breaches.push(format!(
                    "{module} (floor {}) imports {path} (floor {})",
                    floor(from),
                    floor(to)
                ));
            }
        }
    }
    assert!(breaches.is_empty(), "{}", breaches.join("\n"));
}

#[test]
fn every_module_has_a_floor() {
    for module in imports().keys() {
        floor(top(module));
    }
}

#[test]
fn nothing_imports_in_circles() {
    let imports = imports();
    let edges: BTreeMap<&str, BTreeSet<&str>> = imports
        .iter()
        .map(|(module, named)| {
            let targets = named.iter().filter_map(|path| resolved(&imports, path));
            // A parent that imports its children is no circle of files; a child that imports its parent is.
            (module.as_str(), targets.filter(|target| *target != module).collect())
        })
        .collect();
    for start in edges.keys() {
        let mut path = vec![*start];
        assert!(
            !reaches(&edges, start, start, &mut BTreeSet::new(), &mut path),
            "a circle: {}",
            path.join(" → ")
        );
    }
}

fn reaches<'a>(
    edges: &BTreeMap<&'a str, BTreeSet<&'a str>>,
    from: &str,
    goal: &str,
    seen: &mut BTreeSet<&'a str>,
    path: &mut Vec<&'a str>,
) -> bool {
    for next in edges.get(from).into_iter().flatten() {
        if *next == goal || (seen.insert(next) && reaches(edges, next, goal, seen, path)) {
            path.insert(1, next);
            return true;
        }
    }
    false
}

#[test]
fn imports_are_read_as_written() {
    let text = "use crate::a::b::C;\nuse crate::{d, e::{f::g, H}, i::J};\n//! crate::no\nfn x() { crate::k::l(); my_crate::no(); }\n\
        use super::m::N;\n#[cfg(test)]\nuse crate::no::No;";
    let found: Vec<String> = named("p::q", text).into_iter().collect();
    assert_eq!(found, ["a::b", "d", "e", "e::f::g", "i", "k::l", "p::m"]);
}

#[test]
fn the_binary_is_short() {
    let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/main.rs")).unwrap();
    assert!(text.lines().count() < 40);
}
