"""The command line, from the tree of its commands: what ``--help`` says, as pages."""

from __future__ import annotations

import inspect
import re
import textwrap
from collections.abc import Iterator

import click
from keyrunbook.cli import runbook

from generate.markdown import cell, escaped

_STATUS = re.compile(r"^  (\d+) +(.+)$", re.MULTILINE)
_GAP = re.compile(r"\S {2,}(?=\S)")
_NAMED = re.compile(r"`(runbook(?:\s+[a-z-]+)+)`")


def tree(
    command: click.Command = runbook, above: click.Context | None = None
) -> Iterator[click.Context]:
    """A context for each command, the outermost first, each group before those below it."""
    name = "runbook" if above is None else command.name
    context = click.Context(command, parent=above, info_name=name)
    yield context
    if isinstance(command, click.Group):
        for inner in command.commands.values():
            yield from tree(inner, context)


def commands() -> str:
    """A section for each command: usage, what it does, options, exit statuses."""
    every = list(tree())
    names = {context.command_path for context in every}

    def link(match: re.Match[str]) -> str:
        path = " ".join(match[1].split())
        return f"[`{path}`](#{_label(path)})" if path in names else match[0]

    return _NAMED.sub(link, "\n".join(_section(context) for context in every))


def statuses() -> str:
    """For each exit status what it means, by command."""
    means: dict[str, dict[str, list[str]]] = {}
    for context in tree():
        for status, meaning in exit_statuses(context.command):
            means.setdefault(status, {}).setdefault(meaning, []).append(context.command_path)
    return "\n".join(
        f"## {status}\n\n| means | of |\n|---|---|\n"
        + "".join(
            f"| {cell(escaped(meaning))} | {', '.join(map(_link, names))} |\n"
            for meaning, names in means[status].items()
        )
        for status in sorted(means, key=int)
    )


def exit_statuses(command: click.Command) -> list[tuple[str, str]]:
    """The statuses that a command's help names, with their meanings."""
    return _STATUS.findall(command.epilog or "")


def _link(path: str) -> str:
    return f"[`{path}`](commands.md#{_label(path)})"


def _label(path: str) -> str:
    return "command-" + path.replace(" ", "-")


def _section(context: click.Context) -> str:
    command = context.command
    usage = " ".join([context.command_path, *command.collect_usage_pieces(context)])
    parts = [
        f"({_label(context.command_path)})=",
        f"## {context.command_path}",
        f"```text\n{usage}\n```",
        *map(_paragraph, _paragraphs(command.help)),
    ]
    if options := list(_options(context)):
        parts += ["**Options**", *options]
    if stated := exit_statuses(command):
        rows = "\n".join(f"| {status} | {escaped(meaning)} |" for status, meaning in stated)
        parts.append(f"| exit status | means |\n|---|---|\n{rows}")
    return "\n\n".join(parts) + "\n"


def _paragraphs(text: str | None) -> list[str]:
    plain = inspect.cleandoc(text or "").partition("\f")[0]
    return [part.strip("\n") for part in re.split(r"\n\s*\n", plain) if part.strip()]


def _paragraph(text: str) -> str:
    """One paragraph of help; click keeps the lines of one that begins with a backspace."""
    if not text.startswith("\b"):
        return escaped(text)
    first, _, rest = text.removeprefix("\b\n").partition("\n")
    if first.endswith(":"):
        return f"**{first.removesuffix(':')}**\n\n```bash\n{textwrap.dedent(rest)}\n```"
    lines = textwrap.dedent("\n".join([first, *rest.splitlines()])).splitlines()
    width = max(gap.end() for line in lines if (gap := _GAP.search(line)))
    return "\n".join(f"- `{one[:width].strip()}`: {escaped(one[width:].strip())}" for one in lines)


def _options(context: click.Context) -> Iterator[str]:
    for option in context.command.get_params(context):
        record = option.get_help_record(context)
        if record is not None:
            names, text = record
            yield f"`{names}`\n: {cell(escaped(text)) or '–'}"
