//! How a command speaks to whoever started it, and with which status it ends.

use std::fmt::{self, Display};
use std::io::{self, Write};
use std::process::ExitCode;

/// How a command ended; the numbers are those of BSD's `sysexits.h` and part of the public contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// All is well.
    Well,
    /// A check or a test failed.
    Failed,
    /// The command line makes no sense.
    Usage,
    /// There is no such file.
    Missing,
    /// An address cannot be listened on.
    CannotListen,
    /// The configuration cannot be used.
    Configuration,
}

impl Status {
    /// The exit status of the process.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Well => 0,
            Self::Failed => 1,
            Self::Usage => 64,
            Self::Missing => 66,
            Self::CannotListen => 71,
            Self::Configuration => 78,
        }
    }
}

impl From<Status> for ExitCode {
    fn from(status: Status) -> Self {
        Self::from(status.code())
    }
}

/// Standard output and standard error, or whatever a test reads instead.
pub struct Console<'a> {
    out: &'a mut dyn Write,
    err: &'a mut dyn Write,
    failure: Option<io::Error>,
}

impl fmt::Debug for Console<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Console").field("failure", &self.failure).finish_non_exhaustive()
    }
}

impl<'a> Console<'a> {
    /// Speaks through these two.
    pub fn new(out: &'a mut dyn Write, err: &'a mut dyn Write) -> Self {
        Self { out, err, failure: None }
    }

    /// Writes a line, or several, to standard output. A reader that has gone away (`| head`) is no failure.
    pub fn say(&mut self, text: impl Display) {
        let written = writeln!(self.out, "{text}").and_then(|()| self.out.flush());
        if let Err(error) = written
            && error.kind() != io::ErrorKind::BrokenPipe
        {
            self.failure.get_or_insert(error);
        }
    }

    /// Writes a line, or several, to standard error. If even that fails, there is nobody left to tell.
    pub fn complain(&mut self, text: impl Display) {
        drop(writeln!(self.err, "{text}"));
    }

    /// The status to end with: `status`, unless something that was said could not be written.
    pub fn conclude(&mut self, status: Status) -> Status {
        match self.failure.take() {
            Some(error) if status == Status::Well => {
                self.complain(format_args!("sidegate: cannot write the output: {error}"));
                Status::Failed
            }
            Some(_) | None => status,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Console, Status};
    use std::io::{self, ErrorKind, Write};

    struct Broken(ErrorKind);

    impl Write for Broken {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(self.0.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn end(kind: ErrorKind, status: Status) -> (Status, String) {
        let mut err = Vec::new();
        let mut out = Broken(kind);
        let mut console = Console::new(&mut out, &mut err);
        console.say("a line");
        let status = console.conclude(status);
        (status, String::from_utf8(err).unwrap())
    }

    #[test]
    fn codes_are_the_contract() {
        use Status::{CannotListen, Configuration, Failed, Missing, Usage, Well};
        let all = [Well, Failed, Usage, Missing, CannotListen, Configuration];
        assert_eq!(all.map(Status::code), [0, 1, 64, 66, 71, 78]);
    }

    #[test]
    fn a_reader_that_left_is_no_failure() {
        assert_eq!(end(ErrorKind::BrokenPipe, Status::Well), (Status::Well, String::new()));
    }

    #[test]
    fn a_full_disk_is_one_but_hides_no_worse_status() {
        let (status, complaint) = end(ErrorKind::StorageFull, Status::Well);
        assert_eq!(status, Status::Failed);
        assert!(complaint.starts_with("sidegate: cannot write the output: "), "{complaint}");
        assert_eq!(end(ErrorKind::StorageFull, Status::Usage), (Status::Usage, String::new()));
    }
}
