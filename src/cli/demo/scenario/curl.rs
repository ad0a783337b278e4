//! A request as a line for a POSIX shell.

/// `text` as one word that no shell changes: inside single quotes, everything but a single quote is literal.
pub(super) fn quote(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// The parts of a curl line.
pub(super) struct Line<'a> {
    /// Options that need no quoting.
    pub(super) options: &'a str,
    /// The method; GET needs no mention.
    pub(super) method: &'a str,
    /// Header fields.
    pub(super) headers: &'a [(&'static str, String)],
    /// The body.
    pub(super) body: Option<&'a str>,
    /// The URL.
    pub(super) url: &'a str,
}

impl Line<'_> {
    /// The line, ready to be pasted.
    pub(super) fn render(&self) -> String {
        let mut words = vec!["curl".to_owned(), self.options.to_owned()];
        if self.method != "GET" {
            words.extend(["-X".to_owned(), self.method.to_owned()]);
        }
        for (name, value) in self.headers {
            words.extend(["-H".to_owned(), quote(&format!("{name}: {value}"))]);
        }
        if let Some(body) = self.body {
            words.extend(["--data-binary".to_owned(), quote(body)]);
        }
        words.push(quote(self.url));
        words.join(" ")
    }
}

#[cfg(test)]
mod tests {
    use super::{Line, quote};
    use proptest::prelude::*;
    use std::process::Command;

    /// The words that a real shell makes of `line`, in place of what `curl` would be given.
    fn words(line: &str) -> Vec<String> {
        let script = format!("curl() {{ printf '%s\\0' \"$@\"; }}\n{line}");
        let output = Command::new("sh").args(["-c", &script]).output().unwrap();
        assert!(output.status.success(), "{line}");
        let text = String::from_utf8(output.stdout).unwrap();
        text.strip_suffix('\0').unwrap_or_default().split('\0').map(str::to_owned).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn a_shell_reads_what_was_quoted(texts in prop::collection::vec("[^\0]{0,20}|['\"$`\\\\!*~ \n]{1,8}", 1..8)) {
            let line = texts.iter().map(|text| quote(text)).collect::<Vec<_>>().join(" ");
            prop_assert_eq!(words(&format!("curl {line}")), texts);
        }
    }

    #[test]
    fn a_line_becomes_curls_arguments() {
        let line = Line {
            options: "-i",
            method: "POST",
            headers: &[("x-name", "O'Brien \"$HOME\"".to_owned())],
            body: Some("{\"a\": 'b'}"),
            url: "http://127.0.0.1:8080/a?b=c&d=$e",
        };
        let expected = [
            "-i",
            "-X",
            "POST",
            "-H",
            "x-name: O'Brien \"$HOME\"",
            "--data-binary",
            "{\"a\": 'b'}",
            "http://127.0.0.1:8080/a?b=c&d=$e",
        ];
        assert_eq!(words(&line.render()), expected);
    }
}
