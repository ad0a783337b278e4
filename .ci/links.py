#!/usr/bin/env python3
"""Checks that every relative link of the Markdown files leads to a file, and every anchor to a heading.

Links to other sites are not followed.
"""

import re
import subprocess
import sys
import unicodedata
from pathlib import Path
from urllib.parse import unquote

ROOT = Path(__file__).resolve().parent.parent
LINK = re.compile(r"!?\[[^\]]*\]\(\s*<?([^)\s>]+)>?[^)]*\)|^\[[^\]]+\]:\s*(\S+)", re.MULTILINE)
ELSEWHERE = re.compile(r"^[a-z][a-z0-9+.-]*:", re.IGNORECASE)


def blank(match):
    """Spaces instead of the text, so that line numbers stay."""
    return re.sub(r"[^\n]", " ", match[0])


def prose(text):
    """The text without code, comments and their contents."""
    text = re.sub(r"^(```+|~~~+).*?^\1[ \t]*$", blank, text, flags=re.MULTILINE | re.DOTALL)
    text = re.sub(r"<!--.*?-->", blank, text, flags=re.DOTALL)
    return re.sub(r"(`+)(?!`).+?(?<!`)\1(?!`)", blank, text)


def slug(heading):
    """The anchor that a heading gets on the usual forges."""
    heading = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", heading).strip().lower()
    kept = (char for char in heading if char in " -_" or unicodedata.category(char)[0] in "LN")
    return "".join(kept).replace(" ", "-")


def anchors(path):
    """The anchors of a Markdown file; repeated headings are numbered."""
    text = re.sub(r"^(```+|~~~+).*?^\1[ \t]*$", "", path.read_text(), flags=re.MULTILINE | re.DOTALL)
    found = set(re.findall(r'<a\s+(?:id|name)="([^"]+)"', text))
    seen = {}
    for heading in re.findall(r"^#{1,6}\s+(.+?)\s*#*$", text, flags=re.MULTILINE):
        name = slug(heading)
        number = seen.get(name, 0)
        seen[name] = number + 1
        found.add(f"{name}-{number}" if number else name)
    return found


def problem(source, target):
    """Why `target`, a link in `source`, leads nowhere; None if it leads somewhere."""
    path, _, anchor = target.partition("#")
    if path.startswith("/"):
        return "is absolute; write it relative to the file"
    goal = (source.parent / unquote(path)).resolve() if path else source
    if not goal.is_relative_to(ROOT):
        return "leads out of the repository"
    if not goal.exists():
        return "does not exist"
    if anchor and goal.suffix == ".md" and anchor not in anchors(goal):
        return "has no such heading"
    return None


def main():
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "*.md"]
    listed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    files = sorted({ROOT / name for name in listed.split("\0") if name and (ROOT / name).is_file()})
    checked = broken = 0
    for source in files:
        text = prose(source.read_text())
        for match in LINK.finditer(text):
            target = match[1] or match[2]
            if ELSEWHERE.match(target):
                continue
            checked += 1
            if why := problem(source, target):
                broken += 1
                line = text.count("\n", 0, match.start()) + 1
                print(f"FAIL {source.relative_to(ROOT)}:{line}: {target} {why}")
    print(f".ci/links.py: {checked} relative links in {len(files)} files, {broken} broken")
    return 1 if broken or not checked else 0


if __name__ == "__main__":
    sys.exit(main())
