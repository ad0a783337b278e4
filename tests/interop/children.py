"""Child processes: they are ended with whoever started them, and are waited for, never slept for."""

import socket
import subprocess
import threading
import time


def until(condition, seconds=10):
    """Polls until the condition gives something; None if it never does."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := condition():
            return found
        time.sleep(0.01)
    return None


def free_port():
    """A port that nobody listens on; for peers whose address must be known before they start."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Child:
    """A process whose lines are collected; as a context it is ended at the end."""

    def __init__(self, *command, environment=None):
        self.lines = []
        self.process = subprocess.Popen([str(word) for word in command], text=True, env=environment, bufsize=1,
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.reader.start()

    def read(self):
        for line in self.process.stdout:
            self.lines.append(line)

    def tell(self, line):
        self.process.stdin.write(f"{line}\n")
        self.process.stdin.flush()

    def said(self, condition, seconds=30):
        """What the condition makes of the first line that meets it."""
        def look():
            # Asked first: what it said before it ended counts.
            ended = self.process.poll() is not None and not self.reader.is_alive()
            found = next((made for line in list(self.lines) if (made := condition(line))), None)
            return (found,) if found or ended else None
        (found,) = until(look, seconds) or (None,)
        if not found:
            raise RuntimeError(f"{self.process.args[0]} has not said what was waited for:\n{''.join(self.lines[-20:])}")
        return found

    def end(self):
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
        self.process.wait()
        self.reader.join(5)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.end()
