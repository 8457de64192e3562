"""Shell code that is not run: is it the shell's language, and is each `runbook` line the command's?

A line is parsed by click itself, against the tree of commands, and nothing is carried out.
"""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any

import click
import yaml
from keyrunbook.cli import runbook

_ENDS = "|;&()<>\n"
_CRON = re.compile(r"^(?:[\d*/,-]+\s+){5}(.+)$")


def runbook_lines(shell: str) -> Iterator[list[str]]:
    """The arguments of each `runbook` command in shell code."""
    lexer = shlex.shlex(shell.replace("\\\n", " "), posix=True, punctuation_chars=_ENDS)
    lexer.whitespace, lexer.whitespace_split, lexer.commenters = " \t", True, ""
    arguments: list[str] | None = None
    for word in [*lexer, "\n"]:
        if word and set(word) <= set(_ENDS):
            if arguments is not None:
                yield arguments
            arguments = None
        elif arguments is not None:
            arguments.append(word)
        elif PurePosixPath(word).name == "runbook":
            arguments = []


def refused(arguments: list[str]) -> str | None:
    """Why click refuses a command line; None where it does not. Nothing is carried out."""
    command: click.Command = runbook
    context: click.Context | None = None
    rest = arguments
    while isinstance(command, click.Group) and rest and not rest[0].startswith("-"):
        if rest[0] not in command.commands:
            return f"No such command {rest[0]!r}."
        context = click.Context(command, parent=context, info_name=command.name)
        command, rest = command.commands[rest[0]], rest[1:]
    try:
        command.make_context(command.name, list(rest), parent=context)
    except click.exceptions.Exit:  # --help, --version
        return None
    except click.UsageError as error:
        return error.format_message()
    return None


def not_shell(code: str) -> str:
    """What the shell says of code that it cannot parse; empty where it can."""
    done = subprocess.run(["bash", "-n"], input=code, capture_output=True, text=True, check=False)
    return done.stderr


def cron_commands(table: str) -> Iterator[str]:
    """The commands of a crontab."""
    for line in table.splitlines():
        if match := _CRON.match(line):
            yield match[1]


def ci_commands(text: str) -> Iterator[str]:
    """The shell commands of a workflow of GitHub Actions: the values of `run`."""
    yield from _runs(yaml.safe_load(text))


def _runs(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for name, inner in value.items():
            if name == "run" and isinstance(inner, str):
                yield inner
            else:
                yield from _runs(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _runs(inner)
