"""The ledger of a run: append-only JSON Lines; the memory between notebooks.

Every line has `n` (its number), `time`, `step`, `kind` and `hash`. The time is the service's (ISO
8601, UTC). It never goes backwards: each process estimates the service's clock to about a second,
and a line that would be earlier than the one before it has that one's time. The kinds:

- ``opened``: who, where, on what; once, at the start of the run
- ``intent``: before each mutating call
- ``outcome``: what became of it: ``done``, with what it `gives`; ``refused`` by AWS, so nothing was
  changed; ``unknown``, where no answer tells; ``not made``, where it was not sent, or where AWS was
  asked and shows nothing of it. One that was looked up says how it was `found`, and of which
  `intent`
- ``plan``: what steps would change, under its digest
- ``approved``: the plan of that digest may be applied; by whom, and how that was said
- ``difference``: what made an approved plan stop, since AWS was not as it had been
- ``account_alias``: the account's alias could not be read, and why
- ``facts``: values that later steps build on (`key_arn`, `workflow_arn`, …)
- ``scorecard``: the account, by AWS's recommendations on data protection
- ``read``: a GetWorkflow call, for whose record the proof looks
- ``build``: how a build that used the workflow as the execution role came out
- ``inventory``: which workflows are under the key, and what is not known of that
- ``access``: what the role and the operator may do, `when` it had been ``granted``, or a revocation
  had come so far
- ``revocation``: what was there `before` access is taken away (None: it goes on), and the key
  policy as that leaves it; ``restored``: it was given back
- ``records``: CloudTrail's records that the run saw, what became of each, and when it was seen; the
  `record` itself has … for what is not judged, such as credentials' ids and addresses
- ``last_use``: whether KMS's own word on the key's last use agrees with the records
- ``in_use``: who else uses the workflow and the key, before either is deleted
- ``lock_out_check``: a key policy that could not be judged before it was sent, and why
- ``findings``, ``verdict``: what a step found
- ``error``: why a step ended early
- ``done``: a step came to its end
- ``repaired``: the torn end that a crash had left was cut off; `dropped_bytes` of it

`hash` is the SHA-256 of the hash before it (64 zeros before the first) and the line's own bytes up
to it. So a line that was altered, removed, doubled or moved breaks the chain. What the chain cannot
show by itself: lines removed from the end, and a forger who owns the folder, since whoever can
write the file can make all hashes anew. Both show against a head hash that was kept elsewhere.
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import hashlib
import json
import os
import re
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any, Final

from keyrunbook.errors import LedgerDamaged, OutputsNotWritable, RunBusy

NAME = "ledger.jsonl"
FIRST = "0" * 64
"""What stands for the hash before the first line."""
DONE: Final = "done"
REFUSED: Final = "refused"
UNKNOWN: Final = "unknown"
NOT_MADE: Final = "not made"
"""The statuses of an outcome."""
_SEALED = re.compile(rb'(.*), "hash": "([0-9a-f]{64})"\}')


@dataclass(frozen=True, slots=True)
class Chain:
    """What a ledger holds: its entries, and the bytes of a torn line that a crash left behind."""

    entries: list[dict[str, Any]]
    whole_bytes: int = 0
    torn_bytes: int = 0

    @property
    def head(self) -> str:
        """The hash of the last line, which stands for all of them."""
        return str(self.entries[-1]["hash"]) if self.entries else FIRST


class Ledger:
    """One run's ledger, at `path`. Appending is safe between processes."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def append(self, kind: str, *, step: str, time: str, **fields: Any) -> int:
        """Write one line and have the system store it before returning; gives its number.

        A torn end is cut off first, and a line says so. `time` is ISO 8601 in UTC, to the same
        digits each time.

        Raises LedgerDamaged, with the line's number, where the ledger is damaged.
        """
        with self.path.open("a+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX)  # until the file is closed
            file.seek(0)
            chain = read_chain(file.read(), self.path)
            new = [{"kind": kind, **fields}]
            if chain.torn_bytes:
                new.insert(0, {"kind": "repaired", "dropped_bytes": chain.torn_bytes})
                file.truncate(chain.whole_bytes)
            before = chain.head
            time = max([time, *(entry["time"] for entry in chain.entries[-1:])])
            for n, line in enumerate(new, len(chain.entries) + 1):
                text, before = _sealed({"n": n, "time": time, "step": step, **line}, before)
                file.write(text)
            file.flush()
            os.fsync(file.fileno())
            if not chain.entries:
                _store_name(self.path.parent)
        return len(chain.entries) + len(new)

    def chain(self) -> Chain:
        """All that is there; nothing, where there is no file. Reading changes nothing.

        Raises LedgerDamaged, with the line's number, where one is damaged.
        """
        try:
            with self.path.open("rb") as file:
                content = file.read()
                if not content.endswith(b"\n"):  # perhaps just being written
                    fcntl.flock(file, fcntl.LOCK_SH)
                    file.seek(0)
                    content = file.read()
        except (FileNotFoundError, NotADirectoryError):
            return Chain([])
        return read_chain(content, self.path)

    def entries(self) -> list[dict[str, Any]]:
        """All whole lines. Raises LedgerDamaged, with the line's number, where one is damaged."""
        return self.chain().entries

    def check_head(self, chain: Chain, head: str) -> None:
        """Raises LedgerDamaged unless `head`, kept from earlier, is a hash of the chain."""
        if all(entry["hash"] != head for entry in chain.entries):
            raise LedgerDamaged(
                f"{self.path} has no line with the hash {head}, so it is not the ledger, or not "
                "the whole of the ledger, that this was the head of.",
                "Compare it with a copy, and the hash with the one that was kept.",
            )

    @contextlib.contextmanager
    def applying(self) -> Iterator[None]:
        """Hold the run while this process applies a step of it.

        The system lets go when the process ends, however it ends.

        Raises RunBusy, naming the process and since when, where another one holds it.
        """
        with (self.path.parent / ".applying").open("a+", encoding="ascii") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise self._busy(file) from error
            file.truncate(0)
            file.write(f"{os.getpid()} {datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}")
            file.flush()
            yield

    def _busy(self, file: IO[str]) -> RunBusy:
        file.seek(0)
        pid, _, since = file.read().partition(" ")
        return RunBusy(
            f"Process {pid} has been applying a step of the run {self.path.parent.name!r} since "
            f"{since}; nothing was changed here.",
            "Wait until it has ended, then plan and apply again.",
        )

    def of_kind(self, kind: str, step: str | None = None) -> list[dict[str, Any]]:
        """The lines of one kind, and of one step when given."""
        return [
            entry
            for entry in self.entries()
            if entry["kind"] == kind and step in (None, entry["step"])
        ]

    def opened(self) -> Mapping[str, Any] | None:
        """The line that opened the run, or None."""
        return next((entry for entry in self.entries() if entry["kind"] == "opened"), None)

    def last_intent(self) -> int:
        """The number of the newest intent, 0 where nothing was to be changed yet."""
        return max((entry["n"] for entry in self.of_kind("intent")), default=0)

    def unsettled(self) -> list[dict[str, Any]]:
        """The intents of which nobody knows whether AWS carried them out: a crash, a lost answer.

        A call is made only once the outcome of the one before it is known, so an outcome is of the
        newest intent; one that was looked up names its own.
        """
        left: dict[int, dict[str, Any]] = {}
        newest = 0
        for entry in self.entries():
            if entry["kind"] == "intent":
                newest = entry["n"]
                left[newest] = entry
            elif entry["kind"] == "outcome" and entry["status"] != UNKNOWN:
                left.pop(entry.get("intent", newest), None)
        return list(left.values())

    def served(self) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
        """The intents that AWS carried out, each with the outcome that says so."""
        intents: dict[int, dict[str, Any]] = {}
        newest = 0
        for entry in self.entries():
            if entry["kind"] == "intent":
                newest = entry["n"]
                intents[newest] = entry
            elif entry["kind"] == "outcome" and entry["status"] == DONE:
                yield intents[entry.get("intent", newest)], entry

    def facts(self) -> dict[str, Any]:
        """What the run knows so far; a later line overrides an earlier one."""
        known: dict[str, Any] = {}
        for entry in self.entries():
            known.update(facts_of(entry))
        return known

    def done(self) -> set[str]:
        """The steps that came to their end."""
        return {entry["step"] for entry in self.entries() if entry["kind"] == "done"}


def facts_of(entry: Mapping[str, Any]) -> Mapping[str, Any]:
    """What a line tells to later steps: facts, and what AWS gave to a call that it carried out.

    The answer and what is learned from it are one line, so that no crash can come between them.
    """
    if entry["kind"] == "outcome" and entry["status"] == DONE:
        return dict(entry["gives"])
    return dict(entry["facts"]) if entry["kind"] == "facts" else {}


def read_chain(content: bytes, path: Path) -> Chain:
    """The ledger whose bytes these are; `path` is for the message.

    The end is torn where its newline is missing, or where blocks of its last line never reached
    the disk and read as zeros: a crash leaves that, and nothing that the ledger ever said is in it.

    Raises LedgerDamaged, with the line's number: any other line that is not as it was written.
    """
    *lines, rest = content.split(b"\n")
    if not rest and lines and b"\0" in lines[-1]:
        rest = lines.pop() + b"\n"
    entries: list[dict[str, Any]] = []
    before = FIRST
    for number, line in enumerate(lines, 1):
        try:
            entries.append(_entry(number, line, before))
        except ValueError as error:
            raise LedgerDamaged(
                f"{path}, line {number}, is damaged: {error}.",
                "Compare it with a copy. The run cannot go on from it; start a new run.",
            ) from error
        before = entries[-1]["hash"]
    return Chain(entries, len(content) - len(rest), len(rest))


@functools.lru_cache(maxsize=2048)  # a run reads its ledger hundreds of times
def _entry(number: int, line: bytes, before: str) -> dict[str, Any]:
    """The entry of one line, shared by all who read it: not to be changed.

    Raises ValueError, which says what is wrong with it.
    """
    entry = json.loads(line)
    if not isinstance(entry, dict) or not entry.keys() >= {"n", "time", "step", "kind"}:
        raise ValueError("it is not an entry")
    if entry["n"] != number:
        raise ValueError(f"it is entry {entry['n']}, so lines are missing, doubled or moved")
    sealed = _SEALED.fullmatch(line)
    if sealed is None:
        raise ValueError("it does not end in its hash")
    if sealed[2].decode() != _hash(before, sealed[1]):
        raise ValueError("its hash is another: it, or the line before it, is not as it was written")
    return entry


def _sealed(line: Mapping[str, Any], before: str) -> tuple[bytes, str]:
    """The bytes of a line, and its hash."""
    body = json.dumps(line, ensure_ascii=False, default=str)[:-1].encode()
    own = _hash(before, body)
    return body + f', "hash": "{own}"}}\n'.encode(), own


def _hash(before: str, body: bytes) -> str:
    return hashlib.sha256(before.encode() + body).hexdigest()


def _store_name(folder: Path) -> None:
    """Have the system store that a new file is in the folder, not only what is in the file."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def new_run_id() -> str:
    """A name for a new run: today's date and six random hexadecimal digits."""
    return f"{datetime.now(UTC):%Y%m%d}-{secrets.token_hex(3)}"


def find_run(outputs_dir: Path, last_step: str) -> str | None:
    """The newest run in `outputs_dir` that has not come to its `last_step`, or None."""
    ledgers = sorted(
        outputs_dir.glob(f"*/{NAME}"), key=lambda path: path.stat().st_mtime, reverse=True
    )
    for path in ledgers:
        if last_step not in Ledger(path).done():
            return path.parent.name
    return None


def run_folder(outputs_dir: Path, run_id: str) -> Path:
    """The run's folder, made where missing.

    Raises OutputsNotWritable.
    """
    folder = outputs_dir / run_id
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / f".write-{os.getpid()}"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise OutputsNotWritable(
            f"The run's folder {folder} cannot be written: {error.strerror}.",
            "Give another folder by --outputs (outputs_dir), or mend its permissions.",
        ) from error
    return folder
