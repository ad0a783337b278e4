#!/usr/bin/env python3
"""Checks the TOML that readers copy.

    .ci/snippets.py                         every ```toml block of the Markdown files parses as TOML
    .ci/snippets.py --gate BINARY           and the whole configurations among them pass `sidegate check`
    .ci/snippets.py --gate BINARY --files FILE …    these configuration files pass `sidegate check`; files of secrets that
                                            they name by absolute paths are made up

A block is a whole configuration if it has an upstream. Environment variables that it names get a value. Other blocks of the page
whose first line is `# file: NAME` are the files beside it.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BLOCK = re.compile(r"^```toml[^\n]*\n(.*?)^```[ \t]*$", re.MULTILINE | re.DOTALL)
WHOLE = re.compile(r"^\[?upstreams[.\]]", re.MULTILINE)
FILE = re.compile(r"\A# file: ([A-Za-z0-9_.-]+)$", re.MULTILINE)
NAMED = re.compile(r'_env\s*=\s*"([A-Za-z_][A-Za-z0-9_]*)"|(?<!\$)\$\{([A-Za-z_][A-Za-z0-9_]*)\}')
SECRET = re.compile(r'_file\s*=\s*"(/[^"]+)"')
# Long enough for an HMAC secret.
VALUE = "0123456789abcdef" * 4
URL = "redis://user:password@redis:6379/0"


def environment(text):
    """This process's environment, and a value for every variable that the configuration needs."""
    names = {name for pair in NAMED.findall(text) for name in pair if name}
    return {**{name: value(name) for name in names}, **os.environ}


def value(name):
    """What a variable or file of that name could hold."""
    return URL if name.lower().endswith("url") else VALUE


def judged(gate, path, text):
    """What `sidegate check` says against the file; empty if nothing."""
    done = subprocess.run([gate, "check", "--config", path], cwd=ROOT, env=environment(text), text=True,
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60)
    return "" if done.returncode == 0 else f"exit status {done.returncode}\n{done.stdout}"


def judged_apart(gate, path):
    """The same for a file; what it names by absolute paths is elsewhere on this machine, if anywhere."""
    text = path.read_text()
    secrets = set(SECRET.findall(text))
    if not secrets:
        return judged(gate, path, text)
    with tempfile.TemporaryDirectory() as folder:
        for secret in secrets:
            made_up = Path(folder) / Path(secret).name
            made_up.write_text(value(made_up.name))
            text = text.replace(secret, str(made_up))
        copied = Path(folder) / path.name
        copied.write_text(text)
        return judged(gate, copied, text)


def check_files(gate, names):
    broken = 0
    for name in names:
        if complaint := judged_apart(gate, ROOT / name):
            broken += 1
            print(f"FAIL {name}: {complaint}")
    print(f".ci/snippets.py: {len(names)} configuration files, {broken} refused")
    return 1 if broken else 0


def check_blocks(gate):
    pages = [path for path in sorted(ROOT.rglob("*.md")) if "target" not in path.relative_to(ROOT).parts]
    blocks = whole = broken = 0
    for page in pages:
        text = page.read_text()
        beside = {named[1]: match[1] for match in BLOCK.finditer(text)
                  if (named := FILE.search(match[1])) and not WHOLE.search(match[1])}
        for match in BLOCK.finditer(text):
            blocks += 1
            where = f"{page.relative_to(ROOT)}:{text.count(chr(10), 0, match.start()) + 1}"
            complaint = ""
            try:
                tomllib.loads(match[1])
            except tomllib.TOMLDecodeError as error:
                complaint = f"not TOML: {error}"
            if not complaint and WHOLE.search(match[1]):
                whole += 1
                if gate:
                    with tempfile.TemporaryDirectory() as folder:
                        path = Path(folder) / "config.toml"
                        path.write_text(match[1])
                        for name, contents in beside.items():
                            (Path(folder) / name).write_text(contents)
                        complaint = judged(gate, path, match[1])
            if complaint:
                broken += 1
                print(f"FAIL {where}: {complaint}")
    with_gate = "checked by the gate" if gate else "not checked by the gate"
    print(f".ci/snippets.py: {blocks} TOML blocks parsed, {whole} whole configurations {with_gate}, {broken} broken")
    return 1 if broken or not whole else 0


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--gate", type=lambda path: str(Path(path).resolve()), help="the binary sidegate")
    parser.add_argument("--files", nargs="+", help="configuration files instead of Markdown blocks")
    arguments = parser.parse_args()
    if not arguments.files:
        return check_blocks(arguments.gate)
    if not arguments.gate:
        parser.error("--files needs --gate")
    return check_files(arguments.gate, arguments.files)


if __name__ == "__main__":
    sys.exit(main())
