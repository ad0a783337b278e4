//! Header fields that count only where they came once: of two, nobody can tell which one the next reader takes.

use http::{HeaderMap, HeaderName, HeaderValue};

/// The value of a field that stands there exactly once.
#[must_use]
pub fn single<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a HeaderValue> {
    let mut values = headers.get_all(name).iter();
    values.next().filter(|_| values.next().is_none())
}

#[cfg(test)]
mod tests {
    use super::single;
    use http::HeaderMap;
    use http::header::ORIGIN;

    #[test]
    fn none_and_two_are_none() {
        let mut headers = HeaderMap::new();
        assert_eq!(single(&headers, &ORIGIN), None);
        headers.append(ORIGIN, "https://a.example".parse().unwrap());
        assert_eq!(single(&headers, &ORIGIN).unwrap(), "https://a.example");
        headers.append(ORIGIN, "https://a.example".parse().unwrap());
        assert_eq!(single(&headers, &ORIGIN), None);
    }
}
