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
_NAMED = re.compile(r"`(runbook(?: [a-z-]+)+)`")


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
    text = "\n".join(_section(context) for context in every)
    return _NAMED.sub(lambda m: f"[{m[0]}](#{_label(m[1])})" if m[1] in names else m[0], text)


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
    lines = [first, *rest.splitlines()]
    width = max(len(line.partition("  ")[0]) for line in lines if "  " in line)
    return "\n".join(_listed(line, width) for line in lines)


def _listed(line: str, width: int) -> str:
    name, text = line.split("  ", 1) if "  " in line else (line[:width], line[width:])
    return f"- `{name.strip()}`: {escaped(text.strip())}"


def _options(context: click.Context) -> Iterator[str]:
    for option in context.command.get_params(context):
        record = option.get_help_record(context)
        if record is not None:
            names, text = record
            yield f"`{names}`\n: {cell(escaped(text)) or '–'}"
