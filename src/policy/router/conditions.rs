//! What a rule is limited to besides its path: methods and hosts.

use crate::config::problem::{KeyPath, Problems};
use crate::target::normal_host;
use http::Method;

/// Reads a rule's `methods`. What is wrong goes to `problems`, with the path of the element.
pub fn methods(written: &[String], at: &KeyPath, problems: &mut Problems) -> Vec<Method> {
    if written.is_empty() {
        problems.error(at.clone(), "no method at all", "leave the key out for any method");
    }
    let mut methods = Vec::new();
    for (index, text) in written.iter().enumerate() {
        let mut fault = |message: String, hint: &str| problems.error(at.index(index), message, hint);
        let Ok(method) = Method::from_bytes(text.as_bytes()) else {
            fault(format!("{text:?} is not a method"), "write a name such as \"GET\"");
            continue;
        };
        if text.bytes().any(|byte| byte.is_ascii_lowercase()) {
            fault(format!("{text:?} is not in capitals"), "write methods in capitals, such as \"GET\"");
        } else if matches!(method, Method::CONNECT | Method::TRACE) {
            fault(format!("{text} is never forwarded"), "leave it out: such requests are answered with 405");
        } else if methods.contains(&method) {
            fault(format!("{text} is named twice"), "name it once");
        } else {
            methods.push(method);
        }
    }
    methods
}

/// Reads a rule's `hosts` into the form in which they are compared. What is wrong goes to `problems`.
pub fn hosts(written: &[String], at: &KeyPath, problems: &mut Problems) -> Vec<String> {
    if written.is_empty() {
        problems.error(at.clone(), "no host at all", "leave the key out for any host");
    }
    let mut hosts: Vec<String> = Vec::new();
    for (index, text) in written.iter().enumerate() {
        let mut fault = |message: String, hint: &str| problems.error(at.index(index), message, hint);
        match normal_host(text) {
            Ok(host) if hosts.iter().any(|known| *known == host) => {
                fault(
                    format!("{text:?} is named twice"),
                    "name it once; case and a final dot make no difference",
                );
            }
            Ok(host) => hosts.push(host.into_owned()),
            Err(reason) => {
                let hint = if text.contains('*') {
                    "name each host, or leave `hosts` out for any: there are no wildcards"
                } else if text.parse::<std::net::Ipv6Addr>().is_ok() {
                    "write an IPv6 address in brackets, such as \"[::1]\""
                } else if text.contains("://") {
                    "write the host alone, such as \"api.example\""
                } else if text.contains(':') {
                    "leave out the port: a rule holds for every port"
                } else if text.is_ascii() {
                    "write a name such as \"api.example\", or an address"
                } else {
                    "write the name as browsers send it, in punycode (\"xn--…\")"
                };
                fault(format!("{text:?} cannot be matched: {reason}"), hint);
            }
        }
    }
    hosts
}
