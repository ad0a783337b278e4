use super::Question;
use crate::identity::{Attribute, Identity};

#[test]
fn attributes_are_encoded_into_their_places() {
    let question = Question::parse("http://e/{site}/x?customer_id={customer_id}&z").unwrap();
    assert_eq!(question.attributes().collect::<Vec<_>>(), ["site", "customer_id"]);
    let mut identity = Identity::default();
    identity.insert("site", Attribute::Integer(7));
    assert_eq!(question.url(&identity), Err("customer_id"));
    identity.insert("customer_id", Attribute::Text("a/b&c=d é".into()));
    assert_eq!(question.url(&identity).unwrap(), "http://e/7/x?customer_id=a%2Fb%26c%3Dd%20%C3%A9&z");
    identity.insert("customer_id", Attribute::Text("".into()));
    assert_eq!(question.url(&identity), Err("customer_id"), "nobody is not a customer");
}

#[test]
fn no_attribute_leads_to_another_place() {
    let question = Question::parse("http://e/customers/{id}/facts").unwrap();
    for (id, url) in [
        ("..", None),
        (".", None),
        ("...", Some("http://e/customers/.../facts")),
        ("../admin", Some("http://e/customers/..%2Fadmin/facts")),
        ("%2e%2e", Some("http://e/customers/%252e%252e/facts")),
        ("a?b#c", Some("http://e/customers/a%3Fb%23c/facts")),
    ] {
        let mut identity = Identity::default();
        identity.insert("id", Attribute::Text(id.into()));
        assert_eq!(question.url(&identity).ok().as_deref(), url, "{id}");
    }
    // In the query dots mean nothing.
    let mut identity = Identity::default();
    identity.insert("id", Attribute::Text("..".into()));
    assert_eq!(Question::parse("http://e/?id={id}").unwrap().url(&identity).unwrap(), "http://e/?id=..");
}

#[test]
fn urls_that_cannot_be_asked() {
    for bad in [
        "http://e/{",
        "http://e/}",
        "http://e/{}",
        "http://e/{a{b}",
        "http://e/}{a}",
        "ftp://e/{a}",
        "/x/{a}",
        "{scheme}://e/",
        "http://{host}/x",
        "http://e{a}/x",
        "http://e:{port}/x",
        "http://user:password@e/{a}",
        "http://e/x#{a}",
    ] {
        assert!(Question::parse(bad).is_err(), "{bad}");
    }
    assert!(Question::parse("http://e").is_ok() && Question::parse("https://e?{a}").is_ok());
}
