"""Rules of everything that is committed: no secrets, nothing of one machine, no package hosts."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HERE = Path(__file__).relative_to(ROOT).as_posix()
# Made up for AWS's documents, and for tests of what must see a key.
NO_KEY = re.compile(r"AKIAIOSFODNN7EXAMPLE|A(?:KI|SI)A(?:ABCDEFGHIJKLMNOP|A{16})|\w*EXAMPLE\b")
RULES = {
    "an access key": re.compile(r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b"),
    "a private key": re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----\s+[A-Za-z0-9+/=]{16}"),
    "a path of one machine": re.compile(r"(?<![\w.])/(?:work|root|tmp/v)/"),
    "a package index": re.compile(r"index-url|find-links|trusted-host|pypi\.org|pythonhosted"),
}


def tracked() -> list[Path]:
    """The files of the commit, whoever owns the clone."""
    done = subprocess.run(
        ["git", "-c", "safe.directory=*", "ls-files", "-z"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return [ROOT / name for name in done.stdout.split("\0") if name]


def found_in(text: str) -> Iterator[str]:
    """What of `RULES` is broken, with the words that do."""
    for name, pattern in RULES.items():
        for match in pattern.finditer(text):
            if not NO_KEY.fullmatch(match[0]):
                yield f"{name}: {match[0]}"


def test_nothing_committed_breaks_a_rule() -> None:
    texts = {
        path.relative_to(ROOT).as_posix(): path.read_bytes().decode("utf-8", "replace")
        for path in tracked()
        if path.is_file()
    }
    assert len(texts) > 50
    del texts[HERE]
    broken = {name: found for name, text in texts.items() if (found := list(found_in(text)))}
    assert broken == {}


def test_outputs_of_runs_are_not_committed() -> None:
    outputs = [path.name for path in tracked() if path.is_relative_to(ROOT / "outputs")]
    assert outputs == ["README.md"]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("key = AKIAZ7QWERTYUIOPASDF", ["an access key: AKIAZ7QWERTYUIOPASDF"]),
        ("key = AKIAIOSFODNN7EXAMPLE", []),
        ("-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkq", ["a private key"]),
        ("-----BEGIN PRIVATE KEY-----", []),
        ("cd /root/project", ["a path of one machine: /root/"]),
        ("see https://example.com/work/x", []),
        ("--extra-index-url https://h/simple", ["a package index: index-url"]),
    ],
)
def test_the_rule_sees(text: str, found: list[str]) -> None:
    seen = list(found_in(text))
    assert len(seen) == len(found)
    assert all(one.startswith(expected) for one, expected in zip(seen, found, strict=True))
