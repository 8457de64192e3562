"""CloudTrail records as a table to filter, each to be opened: what matters to the claim is marked.

Where a front end is alive (JupyterLab or Notebook started the kernel) there are fields to filter
by, and one to choose the record. Everywhere else, and beside the widgets too, the table stands with
each record below it, to be opened by a click.

Outputs are kept and compared, so there what is random or names a machine is left out (…), and
messages are told apart by letters. A live front end shows the record whole; that is not kept.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any, Final

from keyrunbook.proof import ARN_KEY, MESSAGE_KEY
from keyrunbook.show.tables import Table, records_table
from keyrunbook.show.widgets import AS_OUTPUT, bundle, is_live

if TYPE_CHECKING:
    from keyrunbook.records import Record

MATTERS: Final[Mapping[tuple[str, ...], str]] = {
    ("userIdentity", "arn"): "who called",
    ("userIdentity", "sessionContext", "sessionIssuer", "arn"): "the role behind the session",
    ("userIdentity", "invokedBy"): "who called for it: must be Image Builder",
    ("eventTime",): "must be of this build's time",
    ("eventSource",): "must be KMS",
    ("eventName",): "a data key is made, or opened",
    ("awsRegion",): "must be the workflow's",
    ("recipientAccountId",): "must be the account's",
    ("errorCode",): "must not be there: KMS did not serve the call",
    ("errorMessage",): "why not",
    ("requestParameters", "keyId"): "the key as it was asked for: maybe an alias",
    ("requestParameters", "dryRun"): "must not be there: nothing is made or opened",
    ("requestParameters", "encryptionContext", ARN_KEY): "must be this version, to the letter",
    ("requestParameters", "encryptionContext", MESSAGE_KEY): "one for each message",
    ("resources", "ARN"): "the key that was used: must be the claim's",
}
"""The fields that the claim is judged by, and how. A list's items share one path."""

_KEPT: Final = {
    "account", "accountId", "awsRegion", "encryptionAlgorithm", "errorCode", "errorMessage",
    "eventCategory", "eventName", "eventSource", "eventTime", "eventType", "eventVersion",
    "invokedBy", "keyId", "keySpec", "dryRun", "managementEvent", "mfaAuthenticated",
    "numberOfBytes", "readOnly", "recipientAccountId", "type", "userName", "ARN", "arn", ARN_KEY,
}  # fmt: skip
"""The fields whose values are kept in outputs: neither random, nor of a machine."""

_LASTING: Final = _KEPT | {MESSAGE_KEY, "eventID", "requestID"}
"""The fields whose values the ledger keeps: what was looked up can be found and compared again."""

_LEFT_OUT: Final = "…"
_INDENT: Final = "  "
_PRE: Final = (
    "margin:0;background:none;color:inherit;font-family:monospace;white-space:pre-wrap;"
    "overflow-wrap:anywhere"
)
_ALL: Final = "all"


@dataclass(frozen=True, slots=True)
class Shown:
    """A record, what it counts for (``✓ counts``), and the reason."""

    counts: str
    record: Record
    reason: str


@dataclass(frozen=True, slots=True)
class Records:
    """A table of records, each to be opened."""

    caption: str
    shown: Sequence[Shown]

    @property
    def table(self) -> Table:
        """The table alone."""
        return records_table(
            self.caption, [(one.counts, one.record, one.reason) for one in self.shown]
        )

    def text(self) -> str:
        """The table as text."""
        return self.table.text()

    def html(self) -> str:
        """The table, and below it each record, closed, without what is random."""
        letters = self._letters()
        return self.table.html() + "".join(
            _details(one, marked(one.record.raw, letters)) for one in self.shown
        )

    def _letters(self) -> dict[str, str]:
        """A letter for each message, so that those of one message are seen to be."""
        keys = ((one.record.encryption_context or {}).get(MESSAGE_KEY) for one in self.shown)
        distinct = dict.fromkeys(key for key in keys if key)
        return {key: f"(message {_letter(n)})" for n, key in enumerate(distinct)}

    def filtered(self, event: str = _ALL, counts: str = _ALL, words: str = "") -> Records:
        """Those of that event name, that count so, and that have `words` anywhere in them."""
        kept = [
            one
            for one in self.shown
            if event in (_ALL, one.record.name)
            and counts in (_ALL, one.counts)
            and (not words or words.lower() in f"{json.dumps(one.record.raw)} {one.reason}".lower())
        ]
        return Records(self.caption, kept)

    def form(self) -> Any:
        """Fields to filter by, the table, and one record opened: an ipywidgets box."""
        import ipywidgets as widgets

        def choice(name: str, values: Sequence[str]) -> Any:
            return widgets.Dropdown(description=name, options=[_ALL, *dict.fromkeys(values)])

        event = choice("Event", [one.record.name for one in self.shown])
        counts = choice("Counts", [one.counts for one in self.shown])
        words = widgets.Text(description="Contains", placeholder="any text", continuous_update=True)
        table = widgets.HTML()
        opened = widgets.Dropdown(description="Open", layout=widgets.Layout(width="30em"))
        record = widgets.HTML()
        for one in (table, record):
            one.add_class(AS_OUTPUT)

        def show_table(_: Any = None) -> None:
            chosen = self.filtered(event.value, counts.value, words.value.strip())
            table.value = chosen.table.html()
            opened.options = [("no record", None), *_choices(chosen.shown)]
            opened.index = 0

        def show_record(change: Mapping[str, Any]) -> None:
            one = change["new"]
            record.value = (
                "" if one is None else f"<pre style='{_PRE}'>{marked(one.record.raw)}</pre>"
            )

        for field in (event, counts, words):
            field.observe(show_table, names="value")
        opened.observe(show_record, names="value")
        show_table()
        return widgets.VBox([widgets.HBox([event, counts, words]), table, opened, record])

    def _repr_mimebundle_(self, **more: Any) -> Any:
        static = {"text/plain": self.text(), "text/html": self.html()}
        if not self.shown or not is_live():
            return static
        shown, metadata = bundle(self.form(), **more)
        return {**shown, **static}, metadata


def _choices(shown: Sequence[Shown]) -> Iterator[tuple[str, Shown]]:
    for number, one in enumerate(shown, 1):
        yield f"{number}. {one.record.name} at {one.record.time:%H:%M:%S} ({one.counts})", one


def _letter(number: int) -> str:
    return chr(ord("A") + number) if number < 26 else str(number + 1)


def _details(one: Shown, text: str) -> str:
    title = f"{one.record.name}, {one.record.time:%Y-%m-%dT%H:%M:%SZ}: {one.counts}, {one.reason}"
    return f'<details><summary>{escape(title)}</summary><pre style="{_PRE}">{text}</pre></details>'


# --- a record's JSON


def lasting(document: Mapping[str, Any]) -> dict[str, Any]:
    """A record as the ledger keeps it: without credentials' ids, addresses, and what else is not
    judged. `keyrunbook.records.parse_record` reads the same from it, but for such values.
    """
    return {name: _lasting(name, value) for name, value in document.items()}


def _lasting(name: str, value: Any) -> Any:
    if isinstance(value, Mapping):
        return lasting(value)
    if isinstance(value, list | tuple):
        return [_lasting(name, one) for one in value]
    return value if name in _LASTING or value in (None, True, False) else _LEFT_OUT


def marked(document: Mapping[str, Any], letters: Mapping[str, str] | None = None) -> str:
    """A record as HTML: JSON, the fields that matter in bold, each with how it is judged.

    With `letters` what is random or names a machine is left out, and of messages the letter stands.
    """
    keep: Callable[[str, Any], Any] = (
        (lambda _, value: value) if letters is None else _keeper(letters)
    )
    return "\n".join(_object(document, (), "", "", keep))


def _keeper(letters: Mapping[str, str]) -> Callable[[str, Any], Any]:
    def keep(name: str, value: Any) -> Any:
        if name == MESSAGE_KEY:
            return letters.get(value, _LEFT_OUT)
        return value if name in _KEPT or value in (None, True, False) else _LEFT_OUT

    return keep


def _object(
    value: Mapping[str, Any],
    path: tuple[str, ...],
    indent: str,
    end: str,
    keep: Callable[[str, Any], Any],
    head: str = "",
) -> Iterator[str]:
    if not value:
        yield f"{indent}{head}{{}}{end}"
        return
    yield f"{indent}{head}{{"
    inner, last = indent + _INDENT, len(value) - 1
    for number, (name, item) in enumerate(value.items()):
        comma = "," if number < last else ""
        yield from _item(item, (*path, name), inner, comma, keep, f"{_json(name)}: ")
    yield f"{indent}}}{end}"


def _item(
    value: Any,
    path: tuple[str, ...],
    indent: str,
    end: str,
    keep: Callable[[str, Any], Any],
    head: str = "",
) -> Iterator[str]:
    if isinstance(value, Mapping):
        yield from _object(value, path, indent, end, keep, head)
    elif isinstance(value, list | tuple):
        yield f"{indent}{head}["
        for number, one in enumerate(value):
            comma = "," if number < len(value) - 1 else ""
            yield from _item(one, path, indent + _INDENT, comma, keep)
        yield f"{indent}]{end}"
    else:
        line = f"{head}{_json(keep(path[-1], value))}{end}"
        says = MATTERS.get(path)
        yield f"{indent}{line}" if says is None else f"{indent}<b>{line}  ← {escape(says)}</b>"


def _json(value: Any) -> str:
    return escape(json.dumps(value, ensure_ascii=False), quote=False)
