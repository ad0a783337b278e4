//! Expressions hold or not, and what cannot hold is an error at start.

use super::{Circumstances, Expression};
use crate::config::problem::{KeyPath, Problems};
use crate::facts::{Facts, Holder};
use crate::identity::{Attribute, Identity};
use crate::policy::router::Pattern;
use crate::quotas::{Quota, Quotas};
use crate::target::{PathRules, Target};
use http::{HeaderMap, HeaderValue, Method, Version};
use serde_json::{Value, json};

mod properties;

/// Compiles, or says what is wrong.
fn compiled(text: &str) -> Result<Expression, Vec<String>> {
    let mut problems = Problems::default();
    let expression = Expression::compile(text, &KeyPath::root("expression"), &mut problems);
    let messages: Vec<String> = problems.0.into_iter().map(|problem| problem.message).collect();
    assert_eq!(expression.is_none(), !messages.is_empty(), "{text}");
    expression.ok_or(messages)
}

#[track_caller]
fn good(text: &str) -> Expression {
    compiled(text).unwrap_or_else(|problems| panic!("{text}: {problems:?}"))
}

#[track_caller]
fn bad(text: &str) -> String {
    match compiled(text) {
        Ok(_) => panic!("{text} must not compile"),
        Err(problems) => problems.join("\n"),
    }
}

/// Who is asking, and for what.
#[derive(Debug, Default)]
struct Scene {
    identity: Identity,
    facts: Option<Facts>,
    claims: Option<Value>,
    path: &'static str,
}

impl Scene {
    fn new(attributes: &[(&str, Attribute)]) -> Self {
        let mut identity = Identity::default();
        for (name, value) in attributes {
            identity.insert(*name, value.clone());
        }
        Self { identity, facts: None, claims: None, path: "/farms/7" }
    }

    fn claiming(claims: Value) -> Self {
        Self { claims: Some(claims), path: "/farms/7", ..Self::default() }
    }

    fn at(self, path: &'static str) -> Self {
        Self { path, ..self }
    }

    /// Nothing if it holds, else what the log reads.
    fn check(&self, expression: &Expression) -> Option<String> {
        let mut headers = HeaderMap::new();
        headers.insert("host", HeaderValue::from_static("API.example:8443"));
        let uri = self.path.parse().unwrap();
        let rules = PathRules::from(crate::config::server::Paths::default());
        let target = Target::parse(rules, Version::HTTP_11, &Method::GET, &uri, &headers).unwrap();
        let pattern = Pattern::parse("/farms/{farm}", rules).unwrap();
        let holder = Holder { identity: &self.identity, facts: self.facts.as_ref(), certificate: None };
        let about = Circumstances {
            target: &target,
            pattern: Some(&pattern),
            client: Some("192.0.2.1".parse().unwrap()),
            claims: self.claims.as_ref(),
        };
        expression.check(&holder, &about).err().map(|denial| denial.source().unwrap().to_owned())
    }

    #[track_caller]
    fn passes(&self, text: &str) {
        assert_eq!(self.check(&good(text)), None, "{text}");
    }

    #[track_caller]
    fn fails(&self, text: &str) -> String {
        self.check(&good(text)).unwrap_or_else(|| panic!("{text} must not hold"))
    }
}

fn text(text: &str) -> Attribute {
    Attribute::Text(text.into())
}

fn set(elements: &[&str]) -> Attribute {
    Attribute::Set(elements.iter().copied().collect())
}

fn quotas(quotas: &[(&str, Quota)]) -> Quotas {
    quotas.iter().copied().collect()
}

#[test]
fn attributes_are_values_of_their_kind() {
    let scene = Scene::new(&[
        ("plan", text("pro")),
        ("farm", Attribute::Integer(7)),
        ("large", Attribute::Integer(u64::MAX.into())),
        ("verified", Attribute::Boolean(true)),
        ("roles", set(&["editor", "admin"])),
        ("auth_method", text("jwt")),
    ]);
    for holds in [
        "identity.plan == \"pro\"",
        "identity.plan in ['basic', 'pro']",
        "identity['plan'].startsWith('p') && identity.plan.endsWith('o') && identity.plan.contains('r')",
        "identity.farm == 7 && identity.farm < 8 && identity.farm + 1 == 8",
        "path.farm == string(identity.farm) && int(path.farm) == identity.farm",
        "identity.large == 18446744073709551615u && identity.large > 1",
        "identity.verified",
        "identity.verified == true && !(identity.farm == 8)",
        "'admin' in identity.roles && size(identity.roles) == 2 && identity.roles.size() == 2",
        "identity.roles == ['admin', 'editor']",
        "identity.roles.exists(x, x.startsWith('ed')) && identity.roles.all(x, x in ['admin', 'editor'])",
        "identity.roles.exists_one(x, x == 'admin') && size(identity.roles.filter(x, x != 'admin')) == 1",
        "identity.scopes == [] && size(identity.permissions) == 0 && identity.capabilities == []",
        "size(identity.quotas) == 0",
        "identity.auth_method == 'jwt'",
        "has(identity.plan) && !has(identity.tier)",
        "'plan' in identity && !('tier' in identity)",
        "(identity.plan == 'pro' ? identity.farm : 0) == 7",
        "identity.plan.matches('^p.o$') && matches(identity.plan, '[o]') && !identity.plan.matches('^r')",
        "identity.roles.exists(x, x.matches('^adm'))",
        "type(identity.farm) == int",
    ] {
        scene.passes(holds);
    }
    for (fails, why) in [
        ("identity.plan == 'free'", "the expression is false"),
        ("identity.tier == 'pro'", "the expression has no value: there is no tier"),
        ("identity.plan > 3", "the expression has no value: _>_ does not take (string, int)"),
        ("identity.plan", "the expression has no value: it is not a truth value"),
        ("identity.plan.all(x, true)", "the expression has no value: string where iterable is needed"),
        ("identity.farm / 0 == 1", "the expression has no value: a division by zero"),
        ("identity.farm * 9223372036854775807 > 0", "the expression has no value: a number is too large"),
        ("int(identity.plan) == 1", "the expression has no value: int failed"),
        ("identity.plan.x == 1", "the expression has no value: _._ does not take (string, string)"),
        ("identity.roles[9] == ''", "the expression has no value: a list is too short"),
        ("identity[identity.plan] == 1", "the expression has no value: a map lacks a key"),
        ("identity[identity.plan].pro == 1", "the expression has no value: a map lacks a key"),
        ("!identity.plan", "the expression has no value: !_ does not take (string)"),
        ("identity.plan - 1 == 0", "the expression has no value: sub does not take values of these types"),
    ] {
        assert_eq!(scene.fails(fails), why, "{fails}");
    }
}

#[test]
fn what_is_true_absorbs_what_has_no_value() {
    let own = "path.farm == string(identity.farm) || 'admin' in identity.roles";
    let admin = Scene::new(&[("roles", set(&["admin"]))]);
    admin.passes(own);
    admin.passes("'admin' in identity.roles || path.farm == string(identity.farm)");
    assert_eq!(
        admin.fails("!(path.farm == string(identity.farm) && 'admin' in identity.roles)"),
        "the expression has no value: there is no farm"
    );
    Scene::new(&[("farm", Attribute::Integer(7))]).passes(own);
    assert_eq!(Scene::new(&[("farm", Attribute::Integer(8))]).fails(own), "the expression is false");
    Scene::new(&[]).fails(own);
    // Not by being the opposite of something without a value, either.
    Scene::new(&[]).fails("!(identity.banned == true)");
    Scene::new(&[]).fails("identity.banned != true");
}

#[test]
fn parameters_of_the_path_are_decoded_once() {
    let scene = |path| Scene::new(&[("farm", Attribute::Integer(7)), ("name", text("a/b é"))]).at(path);
    let own = "path.farm == string(identity.farm)";
    for path in ["/farms/7", "/farms/%37", "/farms/7/"] {
        scene(path).passes(own);
    }
    for path in
        ["/farms/8", "/farms/07", "/farms/%2537", "/farms/7%20", "/farms/+7", "/farms/7.0", "/farms/%C2%B7"]
    {
        scene(path).fails(own);
    }
    scene("/farms/a%20b").passes("path.farm == 'a b'");
    scene("/farms/%ff").passes("path.farm == '%ff' || path.farm == '%FF'");
    scene("/farms/x")
        .passes("request.path == '/farms/x' && request.method == 'GET' && request.host == 'api.example'");
    scene("/farms/x").passes("request.client == '192.0.2.1' && path['farm'] == 'x' && 'farm' in path");
}

#[test]
fn facts_count_with_the_identity() {
    let own = quotas(&[("a", Quota::Limit(1)), ("b", Quota::Limit(9))]);
    let mut scene = Scene::new(&[("capabilities", set(&["own"])), ("quotas", Attribute::Quotas(own))]);
    scene.facts = Some(Facts {
        capabilities: ["fact", "own"].into_iter().collect(),
        quotas: quotas(&[("a", Quota::Limit(5)), ("b", Quota::Limit(2)), ("c", Quota::Unlimited)]),
    });
    scene.passes("'own' in identity.capabilities && 'fact' in identity.capabilities && size(identity.capabilities) == 2");
    scene.passes(
        "identity.quotas['a'] == 5 && identity.quotas.b == 9 && identity.quotas.c >= 9223372036854775807",
    );
    assert_eq!(scene.fails("identity.quotas['d'] >= 1"), "the expression has no value: there is no d");
    for (uses, whole) in [
        ("identity.quotas['quota.active_algos'] >= 1", true),
        ("'a' in identity.capabilities", true),
        ("'plan' in identity", true),
        ("identity[path.farm] == 1", true),
        ("identity.plan == '' && has(identity.roles)", false),
    ] {
        assert_eq!(good(uses).uses_facts(), whole, "{uses}");
    }
}

#[test]
fn claims_are_as_they_stand_in_the_token() {
    let scene = Scene::claiming(json!({
        "sub": "u", "n": 7, "big": u64::MAX, "f": 1.5, "none": null, "yes": true, "list": [1, "a", {"id": 3}],
        "realm_access": { "roles": ["x"] }, "https://a.example/plan": "pro",
    }));
    for holds in [
        "claims.sub == 'u' && claims.n == 7 && claims.f == 1.5 && claims.none == null && claims.yes",
        "claims.big == 18446744073709551615u",
        "'x' in claims.realm_access.roles && claims.list[2].id == 3 && 'a' in claims.list",
        "claims.list.exists(x, type(x) == map && x.id == 3)",
        "claims['https://a.example/plan'] == 'pro'",
        "'sub' in claims && !has(claims.email)",
    ] {
        assert!(good(holds).uses_claims());
        scene.passes(holds);
    }
    assert!(!good("identity.claims == 1").uses_claims());
    assert!(Scene::new(&[]).fails("claims.sub == 'u'").contains("there is no sub"));
    Scene::new(&[]).passes("size(claims) == 0");
}

#[test]
fn what_cannot_be_meant_is_an_error() {
    let errors: Vec<String> = [
        "",
        "identity.plan = 'pro'",
        "identity.plan == 'pro",
        "identity.plan ==",
        "identity.plan == pro",
        "identiy.plan == 'pro'",
        "identity.plan == 'é' && rôle",
        "request.header['x'] == 'a'",
        "request.query == ''",
        "lower(identity.plan) == 'pro'",
        "identity.plan.lowerAscii() == 'pro'",
        "optional.of(1).hasValue()",
        "identity.?plan == 'pro'",
        "identity.roles",
        "'admin'",
        "1 + 1",
        "string(identity.plan)",
        "size(identity.roles)",
        "path.farm == 7",
        "identity.roles == 'admin'",
        "'admin' in 'administrator'",
        "identity.roles && true",
        "!path.farm",
        "path.farm > 3",
        "path.farm + 1 == ''",
        "path.farm ? true : false",
        "request.path.startsWith(1)",
        "string(identity.roles) == ''",
        "path.farm.x == ''",
        "identity.roles['x'] == ''",
        "identity.roles.map(x, x + x) == []",
        "identity.roles.map(x, x) == []",
        "identity.roles.map(x, x != '', x + x) == []",
        "identity.roles.exists(path, path == '')",
        "identity.roles.exists(x, identity.scopes.exists(x, x == ''))",
        "claims.a.exists(x, claims.b.exists(y, x == y))",
        "[1].exists(x, [1].exists(y, [1].exists(z, true)))",
        "identity.plan.matches(identity.pattern)",
        "identity.plan.matches('(')",
        "identity.plan.matches('(a{1000}){1000}')",
        "timestamp('2026-01-01T00:00:00Z') > timestamp('2025-01-01T00:00:00Z')",
        "Message{a: 1} == 1",
        "true\n&& identity.plan == pro",
        "@result == 1",
        ".identity.plan == 'a'",
        "identity.`a b` == 1",
    ]
    .into_iter()
    .map(|text| format!("{text}\n  {}", bad(text).replace('\n', "\n  ")))
    .collect();
    insta::with_settings!({ omit_expression => true, prepend_module_to_snapshot => false }, {
        insta::assert_snapshot!("expression_errors", errors.join("\n"));
    });
}

#[test]
fn length_and_depth_are_bounded() {
    assert!(bad(&format!("identity.plan == '{}'", "a".repeat(5000))).contains("longer than"));
    let any = |count: usize| vec!["identity.plan == 'a'"; count].join(" || ");
    good(&any(150));
    good(&format!("{}true", "!".repeat(100)));
    for deep in [
        "(".repeat(4096),
        "[".repeat(4096),
        "{1:".repeat(1300),
        "!".repeat(4095) + "a",
        "-".repeat(4095) + "1",
        "a.".repeat(2047) + "a",
        "a[".repeat(2047),
        "1+".repeat(2047) + "1",
        "1?1:".repeat(1000) + "1",
        "a(".repeat(2000),
        "a.b(".repeat(1000),
        "1<".repeat(2000) + "1",
        format!("{}true{}", "(".repeat(2000), ")".repeat(2000)),
        format!("{}true{}", "[".repeat(2000), "]".repeat(2000)),
        format!("{}true", "a.all(x,".repeat(500)),
        format!("true{}", " == true".repeat(500)),
        format!("{}true", "!(".repeat(100)),
        format!("{}1 == 1", "-(".repeat(100)),
    ] {
        let why = bad(&deep);
        let expected = ["nested too deeply", "there is no variable a", "never true"];
        assert!(expected.iter().any(|expected| why.contains(expected)), "{why}");
    }
}

/// A claims set that fills a token of 16 KiB.
fn largest(element: impl Fn(usize) -> Value) -> Value {
    let mut claims = json!({ "a": [], "b": [] });
    for number in 0.. {
        claims["a"].as_array_mut().unwrap().push(element(number));
        claims["b"].as_array_mut().unwrap().push(element(number));
        if claims.to_string().len() > 12 * 1024 {
            break;
        }
    }
    claims
}

#[test]
fn the_largest_token_takes_no_time() {
    let all =
        "claims.a.all(x, x in claims.b || x in claims.a) && claims.a.exists(x, ['1', '2'].exists(y, y == x))";
    // Thousands of small values are more than an expression may look at.
    let many = Scene::claiming(largest(|number| json!(number % 10)));
    assert!(many.fails(all).contains("more than an expression may look at"));
    let deep = Scene::claiming(largest(|number| json!({ "x": [number % 10] })));
    assert!(deep.fails("claims.a == claims.b").contains("more than an expression may look at"));
    // As many as it may look at, compared each with each, and long texts.
    let most = Scene::claiming(
        json!({ "a": (0..500).collect::<Vec<_>>(), "b": (0..500).rev().collect::<Vec<_>>() }),
    );
    let long = Scene::claiming(largest(|number| json!(format!("{number:0100}"))));
    let patterns = "claims.a.all(x, x.matches('^(0|1)*(a?){50}[0-9]{2,50}$')) && claims.a == claims.a";
    let (all, patterns) = (good(all), good(patterns));
    let start = std::time::Instant::now();
    assert!(most.check(&all).is_some_and(|why| why == "the expression is false"));
    assert!(long.check(&patterns).is_none());
    // Without optimisation, beside other tests; it is a hundredth of that otherwise.
    assert!(start.elapsed() < std::time::Duration::from_secs(2), "{:?}", start.elapsed());
}

#[test]
fn an_identity_that_is_too_large_satisfies_nothing() {
    let names: Vec<String> = (0..1100).map(|number| format!("role-{number}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let large = Scene::new(&[("roles", set(&names)), ("plan", text("pro"))]);
    assert!(large.fails("!('banned' in identity.roles)").contains("more than an expression may look at"));
    // What is not looked at does not count.
    large.passes("identity.plan == 'pro'");
    let long = Scene::new(&[("plan", text(&"x".repeat(70_000)))]);
    assert!(long.fails("identity.plan != ''").contains("more than an expression may look at"));
}

#[test]
fn the_documented_examples_compile() {
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/expressions.md")).unwrap();
    let (_, rest) = page.split_once("```cel\n").unwrap();
    let (examples, _) = rest.split_once("```").unwrap();
    assert!(examples.lines().count() > 8);
    examples.lines().for_each(|example| drop(good(example)));
    let scene = Scene::claiming(json!({ "amr": ["pwd"] }));
    scene.fails("!has(claims.amr) || 'mfa' in claims.amr");
    Scene::claiming(json!({})).passes("!has(claims.amr) || 'mfa' in claims.amr");
    Scene::new(&[("permissions", set(&["tenant-7"]))])
        .passes("'tenant-' + path.farm in identity.permissions");
    let mail = |address| Scene::new(&[("email", text(address))]);
    mail("x@a.example").passes("identity.email.matches('^[^@]+@(a|b)[.]example$')");
    mail("x@a.example.evil").fails("identity.email.matches('^[^@]+@(a|b)[.]example$')");
}

#[test]
fn the_deepest_expression_needs_little_stack() {
    let chain = |terms: usize| format!("true{}", " == true".repeat(terms));
    let most = (1..100).take_while(|terms| compiled(&chain(*terms)).is_ok()).last().unwrap();
    assert!(most > 15, "{most}");
    let nested = |terms: usize| format!("{}identity.ok{}", "[[".repeat(terms), "]][0][0]".repeat(terms));
    let lists = (1..100).take_while(|terms| compiled(&nested(*terms)).is_ok()).last().unwrap();
    for text in [chain(most), nested(lists)] {
        // A quarter of what a worker has, and without optimisation.
        let thread = std::thread::Builder::new().stack_size(512 * 1024);
        let expression = good(&text);
        let scene = Scene::new(&[("ok", Attribute::Boolean(true))]);
        let check = move || assert_eq!(scene.check(&expression), None);
        thread.spawn(check).unwrap().join().unwrap();
    }
}
