use super::{KeyRow, parse};
use crate::clock::UnixTime;
use crate::identity::Attribute;
use crate::quotas::Quota;

const DIGEST: &str = "0123456789abcdef0123456789ABCDEF0123456789abcdef0123456789abcdef";

fn rows(text: &str) -> Vec<KeyRow> {
    parse("api-keys.toml", text).unwrap_or_else(|error| panic!("{error}"))
}

fn report(text: &str) -> String {
    parse("api-keys.toml", text).expect_err(text).to_string()
}

/// The only entry, with these lines besides.
fn row(lines: &str) -> KeyRow {
    rows(&format!("[[keys]]\nid = \"a\"\nsha256 = \"{DIGEST}\"\n{lines}\n")).remove(0)
}

/// The only finding about an entry with these lines besides.
#[track_caller]
fn finding(lines: &str) -> String {
    let report = report(&format!("[[keys]]\nid = \"a\"\nsha256 = \"{DIGEST}\"\n{lines}\n"));
    assert!(report.ends_with("1 error in api-keys.toml\n"), "{report}");
    let line = report.lines().next().unwrap();
    line.strip_prefix("api-keys.toml:4:").unwrap_or(line).split_once(": error: ").unwrap().1.to_owned()
}

#[test]
fn an_entry_says_who_holds_a_key() {
    let row =
        row("plan = \"pro\"\nsites = [\"b\", \"a\"]\nlevel = -3\ntrial = false\nroles = \"admin editor\"\n\
         quotas = { \"quota.algos\" = 5, \"quota.sites\" = \"unlimited\" }\nscopes = []\n\
         allowed_ips = [\"10.0.0.0/8\", \"::1\", \"::ffff:192.0.2.0/120\", \"::ffff:192.0.2.7\"]");
    assert_eq!((row.id.as_str(), row.sha256[0], row.sha256[31], row.expires), ("a", 1, 0xef, None));
    let networks: Vec<String> = row.allowed_ips.iter().map(ToString::to_string).collect();
    assert_eq!(networks, ["10.0.0.0/8", "::1/128", "192.0.2.0/24", "192.0.2.7/32"]);
    let set = |elements: &[&str]| Attribute::Set(elements.iter().copied().collect());
    for (name, value) in [
        ("subject", Attribute::Text("a".into())),
        ("plan", Attribute::Text("pro".into())),
        ("sites", set(&["a", "b"])),
        ("level", Attribute::Integer(-3)),
        ("trial", Attribute::Boolean(false)),
        ("roles", set(&["admin", "editor"])),
        ("scopes", set(&[])),
    ] {
        assert_eq!(row.identity.attribute(name), Some(&value), "{name}");
    }
    let Some(Attribute::Quotas(quotas)) = row.identity.attribute("quotas") else { panic!("no quotas") };
    assert_eq!(quotas.quota("quota.algos"), Quota::Limit(5));
    assert_eq!(quotas.quota("quota.sites"), Quota::Unlimited);
    assert_eq!(row.identity.attribute("id"), None);
}

#[test]
fn a_subject_of_its_own_stays() {
    assert_eq!(row("subject = \"c-1\"").identity.attribute("subject"), Some(&Attribute::Text("c-1".into())));
    assert_eq!(row("subject = 7").identity.attribute("subject"), Some(&Attribute::Integer(7)));
}

#[test]
fn an_end_is_a_moment() {
    for (written, millis) in [
        ("2027-01-31T12:00:00Z", 1_801_396_800_000),
        ("2027-01-31T12:00:00", 1_801_396_800_000),
        ("2027-01-31 12:00:00.25", 1_801_396_800_250),
        ("2027-01-31T13:30:00+01:30", 1_801_396_800_000),
        ("2027-01-31T04:00:00-08:00", 1_801_396_800_000),
        ("1969-12-31T23:59:59Z", 0),
    ] {
        assert_eq!(
            row(&format!("expires = {written}")).expires,
            Some(UnixTime::from_millis(millis)),
            "{written}"
        );
    }
    for (written, finding) in [
        ("2027-01-31", "lacks the time of day"),
        ("12:00:00", "lacks the date"),
        ("\"2027-01-31T12:00:00Z\"", "expected a date and time, found a string"),
        ("1801396800", "expected a date and time, found a whole number"),
    ] {
        assert_eq!(self::finding(&format!("expires = {written}")), format!("keys[0].expires: {finding}"));
    }
}

#[test]
fn what_was_meant_otherwise_is_an_error() {
    for (lines, expected) in [
        ("key = \"sb_in_plain_sight\"", "keys[0].key: a key does not belong into this file"),
        ("allowed_ips = []", "keys[0].allowed_ips: names nobody"),
        ("allowed_ips = \"10.0.0.0/8\"", "keys[0].allowed_ips: expected a list, found a string"),
        (
            "allowed_ips = [\"10.0.0.0/33\"]",
            "keys[0].allowed_ips: \"10.0.0.0/33\" is no address and no network",
        ),
        ("allowed_ips = [7]", "keys[0].allowed_ips: expected strings in the list, found a whole number"),
        (
            "allowed_ip = [\"10.0.0.0/8\"]",
            "keys[0].allowed_ip: this would be an attribute, and restrict nothing",
        ),
        ("ips = [\"10.0.0.0/8\"]", "keys[0].ips: this would be an attribute, and restrict nothing"),
        ("expire = \"2027\"", "keys[0].expire: this would be an attribute, and restrict nothing"),
        ("expires_at = \"2027\"", "keys[0].expires_at: this would be an attribute, and restrict nothing"),
        ("valid_until = \"2027\"", "keys[0].valid_until: this would be an attribute, and restrict nothing"),
        ("authenticator = \"x\"", "keys[0].authenticator: sidegate sets this attribute itself"),
        ("auth_method = \"x\"", "keys[0].auth_method: sidegate sets this attribute itself"),
        ("subject = \"\"", "keys[0].subject: is empty"),
        ("subject = [\"a\"]", "keys[0].subject: expected a string or a whole number, found a list"),
        ("subject = true", "keys[0].subject: expected a string or a whole number, found a boolean"),
        ("rate = 1.5", "keys[0].rate: an attribute cannot be a number with a fraction"),
        ("since = 2027-01-31T12:00:00Z", "keys[0].since: an attribute cannot be a date"),
        ("owner = { name = \"x\" }", "keys[0].owner: an attribute cannot be a table"),
        ("sites = [\"a\", 1]", "keys[0].sites: expected strings in the list, found a whole number"),
        ("sites = [[\"a\"]]", "keys[0].sites: expected strings in the list, found a list"),
        ("sites = [\"\"]", "keys[0].sites: an element is empty"),
        ("name = \"a\\nb\"", "keys[0].name: has a control character"),
        ("sites = [\"a\\u0000\"]", "keys[0].sites: has a control character"),
        ("roles = 1", "keys[0].roles: expected a list of strings, found a whole number"),
        ("scopes = true", "keys[0].scopes: expected a list of strings, found a boolean"),
        ("quotas = 5", "keys[0].quotas: expected a table, found a whole number"),
        ("quotas = { a = 1.5 }", "keys[0].quotas: \"a\" is no quota"),
        ("quotas = { a = -1 }", "keys[0].quotas: \"a\" is no quota"),
        ("quotas = { a = \"lots\" }", "keys[0].quotas: \"a\" is no quota"),
        ("quotas = { quota.a = 1 }", "keys[0].quotas: \"quota\" is a table"),
        ("\"\" = 1", "keys[0].\"\": an attribute needs a name"),
    ] {
        assert_eq!(finding(lines), expected, "{lines}");
    }
}

#[test]
fn everything_is_reported_at_once_with_its_place() {
    let text = format!(
        "title = \"keys\"\n[[keys]]\nid = \"a\"\nsha256 = \"{DIGEST}\"\n\n[[keys]]\nid = \"a\"\nsha256 = \"{}\"\nrate = 1.5\n\n\
         [[keys]]\nsha256 = \"sb_the_key_itself\"\n\n[[keys]]\nid = \"\"\nkey = \"sb_the_key_itself\"\n\n\
         [[keys]]\nid = 7\nsha256 = \"E3B0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\"\n",
        DIGEST.to_lowercase()
    );
    let report = report(&text);
    assert!(!report.contains("sb_the_key_itself") && !report.contains("0123456789"), "{report}");
    insta::assert_snapshot!(report, @r#"
    api-keys.toml:1:1: error: title: there is no such key
      hint: the file is a list of [[keys]]; write attributes below the [[keys]] that they belong to
    api-keys.toml:7:1: error: keys[1].id: keys[0] has this id as well
      hint: give each key an id of its own
    api-keys.toml:8:1: error: keys[1].sha256: keys[0] is the same key
      hint: remove one of them: whose key it is could not be told
    api-keys.toml:9:1: error: keys[1].rate: an attribute cannot be a number with a fraction
      hint: attributes are strings, whole numbers, true or false, and lists of strings
    api-keys.toml:11:1: error: keys[2].id: is missing
      hint: name the key, e.g. id = "billing"; logs show this name
    api-keys.toml:12:1: error: keys[2].sha256: is not 64 hexadecimal digits
      hint: write the SHA-256 of the whole key; `sidegate api-key new` makes a key and prints it
    api-keys.toml:14:1: error: keys[3].sha256: is missing
      hint: write the SHA-256 of the whole key; `sidegate api-key new` makes a key and prints it
    api-keys.toml:15:1: error: keys[3].id: is empty
      hint: write a name between quotes
    api-keys.toml:16:1: error: keys[3].key: a key does not belong into this file
      hint: never store a key itself: remove it, and store its SHA-256 as `sha256`; `sidegate api-key new` prints it
    api-keys.toml:19:1: error: keys[4].id: expected a string, found a whole number
      hint: write a name between quotes
    api-keys.toml:20:1: error: keys[4].sha256: is the SHA-256 of nothing at all
      hint: write the SHA-256 of the whole key; `sidegate api-key new` makes a key and prints it
    11 errors in api-keys.toml
    "#);
}

#[test]
fn an_empty_file_takes_no_key_away_but_an_empty_list_does() {
    for text in ["", "# nothing yet\n"] {
        assert!(
            report(text).starts_with("api-keys.toml:1:1: error: keys: there are no keys"),
            "{}",
            report(text)
        );
    }
    assert!(rows("keys = []\n").is_empty());
    assert!(report("keys = 1\n").contains("keys: expected a list of tables, found a whole number"));
    assert!(report("keys = [1]\n").contains("keys[0]: expected a table, found a whole number"));
    assert!(report("[[keys]]\nid = \n").starts_with("api-keys.toml:2:6: error: "));
}

#[test]
fn many_errors_take_one_pass() {
    let text = "[[keys]]\nid = 1\nsha256 = 1\n".repeat(20_000);
    assert!(report(&text).ends_with("40000 errors in api-keys.toml\n"));
}
