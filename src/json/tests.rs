use super::{MAX_DEPTH, Number, Object, Value, object};
use proptest::prelude::{Just, Strategy, prop_oneof};
use proptest::strategy::Union;
use serde::Deserializer;
use serde::de::{DeserializeSeed, Error, MapAccess, SeqAccess, Visitor};
use std::fmt;

/// The same as another reader has it.
fn theirs(value: &Value<'_>) -> serde_json::Value {
    match value {
        Value::Null => serde_json::Value::Null,
        Value::Boolean(truth) => (*truth).into(),
        Value::Number(Number::Whole(number)) => u64::try_from(*number)
            .map_or_else(|_| i64::try_from(*number).unwrap().into(), serde_json::Value::from),
        Value::Number(Number::Float(number)) => (*number).into(),
        Value::Text(text) => text.as_ref().into(),
        Value::List(list) => list.iter().map(theirs).collect(),
        Value::Object(object) => theirs_of(object),
    }
}

fn theirs_of(object: &Object<'_>) -> serde_json::Value {
    object.iter().map(|(name, value)| (name, theirs(value))).collect()
}

#[test]
fn an_object_keeps_every_value_as_it_is() {
    let text = br#"{"a":[1,-2,18446744073709551615,0.5,true,null,"\u00e9"],"b":{"c":{}},"\u00e9":1}"#;
    let read = object(text).unwrap();
    assert_eq!(theirs_of(&read), serde_json::from_slice::<serde_json::Value>(text).unwrap());
    assert_eq!(read.get("é"), Some(&Value::Number(Number::Whole(1))));
    assert_eq!(read.get("d"), None);
}

#[test]
fn what_can_be_read_in_two_ways_is_refused() {
    for bad in [
        r#"{"a":1,"a":1}"#,
        r#"{"a":1,"\u0061":2}"#,
        r#"{"a":{"b":{"c":1,"c":2}}}"#,
        r#"{"a":[{"b":1,"b":2}]}"#,
        r#"{"a":1}{}"#,
        r#"{"a":1} x"#,
        r#"{"a":1,}"#,
        r#"{"a":01}"#,
        r#"{"a":1e999}"#,
        r#"{"a":NaN}"#,
        r#"{"a":"\ud800"}"#,
        "{\"a\":\"\u{1}\"}",
        "\u{feff}{}",
        "{a:1}",
        "[]",
        "\"x\"",
        "null",
        "",
    ] {
        assert!(object(bad.as_bytes()).is_err(), "{bad}");
    }
    assert!(object(b"{\"a\":\"\xff\"}").is_err());
    assert!(object(b"{\"\xff\":1}").is_err());
    assert!(object(b"{\"a\":1}\xff").is_err());
}

#[test]
fn no_member_among_many_comes_twice() {
    for count in [1, 15, 16, 17, 18, 40, 1000] {
        let members: Vec<String> = (0..count).map(|number| format!("\"{number}\":{number}")).collect();
        let text = format!("{{{}}}", members.join(","));
        let read = object(text.as_bytes()).unwrap();
        assert!((0..count).all(|number| read.get(&number.to_string()).is_some()));
        for twice in [0, count / 2, count - 1] {
            let text = format!("{{{},\"{twice}\":null}}", members.join(","));
            assert!(object(text.as_bytes()).is_err(), "{twice} of {count}");
            assert!(object(format!("{{\"x\":[{text}]}}").as_bytes()).is_err(), "{twice} of {count}");
        }
    }
}

#[test]
fn depth_is_bounded() {
    let nested = |levels: usize| format!("{{\"a\":{}{}}}", "[".repeat(levels), "]".repeat(levels));
    let most = usize::from(MAX_DEPTH) - 1;
    assert!(object(nested(most).as_bytes()).is_ok());
    assert!(object(nested(most + 1).as_bytes()).is_err());
    assert!(object(nested(100_000).as_bytes()).is_err());
}

#[test]
fn an_error_does_not_repeat_what_the_document_holds() {
    for text in [r#"{"secret":1,"secret":2}"#, r#""secret""#, r#"{"a":"secret}"#] {
        assert!(!object(text.as_bytes()).unwrap_err().to_string().contains("secret"));
    }
    assert!(!object(b"{\"secret\":\"\xff\"}").unwrap_err().to_string().contains("secret"));
}

/// A reader that does not borrow and looks every name up in a map: what the one above must agree with.
#[derive(Clone, Copy)]
struct Reference(u8);

impl<'de> DeserializeSeed<'de> for Reference {
    type Value = serde_json::Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Reference {
    type Value = serde_json::Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(().into())
    }

    fn visit_bool<E>(self, value: bool) -> Result<Self::Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Self::Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Self::Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Self::Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Self::Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Self::Value, A::Error> {
        let deeper = Self(self.0.checked_sub(1).ok_or_else(|| A::Error::custom("depth"))?);
        let mut list = Vec::new();
        while let Some(value) = elements.next_element_seed(deeper)? {
            list.push(value);
        }
        Ok(list.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Self::Value, A::Error> {
        let deeper = Self(self.0.checked_sub(1).ok_or_else(|| A::Error::custom("depth"))?);
        let mut map = serde_json::Map::new();
        while let Some(name) = members.next_key::<String>()? {
            let value = members.next_value_seed(deeper)?;
            if map.insert(name, value).is_some() {
                return Err(A::Error::custom("twice"));
            }
        }
        Ok(map.into())
    }
}

fn reference(bytes: &[u8]) -> Option<serde_json::Value> {
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let value = Reference(MAX_DEPTH).deserialize(&mut deserializer).ok()?;
    deserializer.end().ok()?;
    value.is_object().then_some(value)
}

/// The text of a value whose objects have few names to choose from, so that some come twice.
fn documents() -> impl Strategy<Value = String> {
    let leaf = Union::new(
        ["0", "-0", "-7", "18446744073709551616", "1e2", "0.5", "null", "true", "\"\\u0061\"", "\"é\"", "x"]
            .map(Just),
    );
    leaf.prop_map(str::to_owned).prop_recursive(4, 60, 24, |inner| {
        let names = Union::new(["a", "b", "c", "\\u0061", "é", "", "aa", "\\n"].map(Just));
        let many = "[a-z]{1,2}";
        let few = proptest::collection::vec((names, inner.clone()), 0..4);
        let few = few.prop_map(|members| written(members.into_iter()));
        let crowd = proptest::collection::vec((many, inner.clone()), 0..24);
        let crowd = crowd.prop_map(|members| written(members.into_iter()));
        let list = proptest::collection::vec(inner, 0..4).prop_map(|list| format!("[{}]", list.join(",")));
        prop_oneof![3 => few, 2 => crowd, 1 => list]
    })
}

fn written(members: impl Iterator<Item = (impl fmt::Display, String)>) -> String {
    let members: Vec<String> = members.map(|(name, value)| format!("\"{name}\": {value}")).collect();
    format!("{{{}}}", members.join(","))
}

proptest::proptest! {
    #[test]
    fn another_reader_agrees(text in documents()) {
        assert_eq!(object(text.as_bytes()).ok().map(|read| theirs_of(&read)), reference(text.as_bytes()));
    }

    #[test]
    fn another_reader_agrees_on_any_bytes(bytes in "[{}\\[\\]\":,a\\\\u0061 1.e-]{0,24}|\\PC{0,20}") {
        let bytes = bytes.as_bytes();
        assert_eq!(object(bytes).ok().map(|read| theirs_of(&read)), reference(bytes));
    }
}
