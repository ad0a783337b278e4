//! Standard output, written by a thread of its own so that a slow reader never holds up a request.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread;
use std::time::Duration;

/// How many chunks may wait; each is a few lines, at most a worker's buffer.
const QUEUE: usize = 4096;

/// How many bytes may wait: what a reader that has stopped may cost in memory.
const MOST_BYTES: usize = 4 << 20;

enum Message {
    Lines(Vec<u8>),
    Flush(SyncSender<()>),
}

/// Takes whole lines and never blocks: what the writer cannot keep up with is dropped and counted.
#[derive(Clone, Debug)]
pub struct Sink {
    queue: SyncSender<Message>,
    lost: Arc<AtomicU64>,
    waiting: Arc<AtomicUsize>,
}

impl Sink {
    /// A sink in front of standard output.
    #[must_use]
    pub fn stdout() -> Self {
        Self::new(io::stdout())
    }

    /// A sink in front of `writer`.
    #[must_use]
    pub fn new(writer: impl Write + Send + 'static) -> Self {
        let (queue, messages) = sync_channel(QUEUE);
        let lost = Arc::new(AtomicU64::new(0));
        let waiting = Arc::new(AtomicUsize::new(0));
        let (failed, written) = (Arc::clone(&lost), Arc::clone(&waiting));
        let spawned = thread::Builder::new()
            .name("sidegate-log".to_owned())
            .spawn(move || drain(&messages, writer, (&failed, &written)));
        // Without the thread the receiver is gone and every line counts as lost: the gate still works.
        drop(spawned);
        Self { queue, lost, waiting }
    }

    /// Hands over whole lines.
    pub fn write(&self, lines: Vec<u8>) {
        let length = lines.len();
        // Several threads may find room for one at the same time; then there is a little more than the most.
        if self.waiting.load(Ordering::Relaxed).saturating_add(length) > MOST_BYTES {
            return count(&self.lost, &lines);
        }
        self.waiting.fetch_add(length, Ordering::Relaxed);
        if let Err(
            TrySendError::Full(Message::Lines(lines)) | TrySendError::Disconnected(Message::Lines(lines)),
        ) = self.queue.try_send(Message::Lines(lines))
        {
            self.waiting.fetch_sub(length, Ordering::Relaxed);
            count(&self.lost, &lines);
        }
    }

    /// How many lines were dropped so far.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    /// Waits until everything handed over so far is written, at most a second.
    pub fn flush(&self) {
        let (done, written) = sync_channel(1);
        if self.queue.try_send(Message::Flush(done)).is_ok() {
            // An error here is the time-out: the reader of our output is stuck, and so be it.
            written.recv_timeout(Duration::from_secs(1)).ok();
        }
    }
}

fn count(lost: &AtomicU64, lines: &[u8]) {
    let lines = memchr::memchr_iter(b'\n', lines).count();
    lost.fetch_add(u64::try_from(lines).unwrap_or(u64::MAX), Ordering::Relaxed);
}

fn drain(messages: &Receiver<Message>, mut writer: impl Write, (lost, waiting): (&AtomicU64, &AtomicUsize)) {
    while let Ok(message) = messages.recv() {
        match message {
            // A closed pipe or a full disk must not end the gate.
            Message::Lines(lines) => {
                if writer.write_all(&lines).and_then(|()| writer.flush()).is_err() {
                    count(lost, &lines);
                }
                waiting.fetch_sub(lines.len(), Ordering::Relaxed);
            }
            Message::Flush(done) => {
                done.try_send(()).ok();
            }
        }
    }
}

/// Collects what one event writes, and hands it over as a whole.
#[derive(Debug)]
pub struct EventWriter {
    sink: Sink,
    line: Vec<u8>,
}

impl Write for EventWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.line.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for EventWriter {
    fn drop(&mut self) {
        self.sink.write(std::mem::take(&mut self.line));
    }
}

impl tracing_subscriber::fmt::MakeWriter<'_> for Sink {
    type Writer = EventWriter;

    fn make_writer(&self) -> EventWriter {
        EventWriter { sink: self.clone(), line: Vec::with_capacity(256) }
    }
}

#[cfg(test)]
mod tests {
    use super::Sink;
    use std::io::{self, Write};
    use std::sync::mpsc::{Receiver, channel};

    /// Blocks in every write until the test lets it go on.
    struct Stuck(Receiver<()>);

    impl Write for Stuck {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.recv().ok();
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_stuck_reader_costs_lines_and_nothing_else() {
        let (release, stuck) = channel();
        let sink = Sink::new(Stuck(stuck));
        for _ in 0..super::QUEUE + 100 {
            sink.write(b"line\n".to_vec());
        }
        assert!((90..=100).contains(&sink.lost()), "{}", sink.lost());
        drop(release);
    }

    #[test]
    fn not_more_memory_waits_than_that() {
        let (release, stuck) = channel();
        let sink = Sink::new(Stuck(stuck));
        let line = [vec![b'x'; super::MOST_BYTES / 16 - 1], vec![b'\n']].concat();
        for _ in 0..20 {
            sink.write(line.clone());
        }
        assert_eq!(sink.lost(), 4);
        drop(release);
    }
}
