"""What was checked, and how it went: a line a check, the sum at the end."""


class Report:
    def __init__(self):
        self.passed = self.failed = self.skipped = 0

    def group(self, name):
        print(f"\n{name}", flush=True)

    def check(self, name, got, expected):
        """One check: what was found must equal what is expected."""
        if got == expected:
            self.passed += 1
            print(f"  ok    {name}", flush=True)
        else:
            self.failed += 1
            print(f"  FAIL  {name}\n        expected {expected!r}\n        got      {got!r}", flush=True)

    def skip(self, why):
        self.skipped += 1
        print(f"  SKIPPED: {why}", flush=True)

    def broken(self, trace):
        """A group has ended before its last check."""
        self.failed += 1
        print(f"  FAIL  the group has broken off\n{trace}", flush=True)

    def conclude(self):
        """Prints the sum; returns the exit status. Nothing passed is a failure, unless it was all skipped."""
        skipped = f", {self.skipped} skipped" if self.skipped else ""
        print(f"\n{self.passed} passed, {self.failed} failed{skipped}", flush=True)
        return 1 if self.failed or not (self.passed or self.skipped) else 0
