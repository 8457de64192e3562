"""Log files under folders and globs, whatever their layout; and all that is not read, told.

``AWSLogs/…``, an organisation trail's folders, a flat folder: where a file lies says nothing here.
A folder is entered once, by whichever way it is reached first, so links that form a loop end.
"""

from __future__ import annotations

import glob
import os
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from keyrunbook.errors import ParameterError
from keyrunbook.logs.names import LOG_SUFFIXES, digest_of, is_other_kind

_GLOB = frozenset("*?[")


@dataclass(slots=True)
class Files:
    """What was found: log files, digest files, and what is neither.

    `sizes` are the log files' bytes on disk, in the order of `logs`. `others` are files that are
    not log files by their names. `troubles` are places that could not be looked into, and why.
    """

    logs: list[Path] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)
    digests: list[Path] = field(default_factory=list)
    others: list[Path] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    troubles: list[tuple[str, str]] = field(default_factory=list)


def find(paths: Iterable[str | os.PathLike[str]]) -> Files:
    """The files under `paths`: each a file, a folder, or a glob pattern (``**`` for any depth).

    A file that is named itself is taken for a log file whatever its name ends in, but for digests.

    Raises:
        ParameterError: a path leads nowhere, or a pattern matches nothing.
    """
    found, seen = Files(), _Seen()
    for path in paths:
        for root in _roots(os.fspath(path)):
            if root.is_dir():
                _walk(root, found, seen)
            else:
                _take(root, found, seen, named=True)
    return found


def _roots(path: str) -> list[Path]:
    if os.path.lexists(path):
        return [Path(path)]
    matches = sorted(glob.glob(path, recursive=True)) if _GLOB & set(path) else []
    if not matches:
        raise ParameterError(
            f"There is no file or folder {path}.",
            "Give a folder of CloudTrail's log files, a file, or a pattern that matches some.",
        )
    return [Path(match) for match in matches]


class _Seen:
    """Files and folders by what they are, not by their names."""

    def __init__(self) -> None:
        self._first: dict[tuple[int, int], Path] = {}

    def before(self, path: Path, status: os.stat_result) -> Path | None:
        """The path by which the same thing was reached before."""
        first = self._first.setdefault((status.st_dev, status.st_ino), path)
        return None if first is path else first


def _walk(folder: Path, found: Files, seen: _Seen) -> None:
    waiting = [folder]
    while waiting:
        here = waiting.pop()
        try:
            earlier = seen.before(here, here.stat())
            if earlier is not None:
                if earlier != here:
                    found.notes.append(f"{here} is {earlier} again: it was entered once")
                continue
            inside = sorted(here.iterdir())
        except OSError as error:
            found.troubles.append((str(here), f"could not be looked into: {error.strerror}"))
            continue
        waiting += [path for path in reversed(inside) if _is_folder(path)]
        for path in inside:
            if not _is_folder(path):
                _take(path, found, seen, named=False)


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:
        return False  # told where it is taken for a file


def _take(path: Path, found: Files, seen: _Seen, *, named: bool) -> None:
    name = path.name
    if digest_of(name) is not None:
        found.digests.append(path)
        return
    if is_other_kind(name) or not (named or name.lower().endswith(LOG_SUFFIXES)):
        found.others.append(path)
        return
    try:
        status = path.stat()
    except OSError as error:
        why = "is a link that leads nowhere" if path.is_symlink() else "could not be read"
        found.troubles.append((str(path), f"{why}: {error.strerror}"))
        return
    if not stat.S_ISREG(status.st_mode):
        found.troubles.append((str(path), "is not a regular file"))
        return
    earlier = seen.before(path, status)
    if earlier is None:
        found.logs.append(path)
        found.sizes.append(status.st_size)
    elif earlier != path:
        found.notes.append(f"{path} is {earlier} again: it was read once")


def batches(files: Iterable[tuple[Path, int]], *, size: int, most: int) -> Iterator[list[Path]]:
    """The files in groups of about `size` bytes, `most` files at the most."""
    group: list[Path] = []
    held = 0
    for path, bytes_ in files:
        group.append(path)
        held += bytes_
        if held >= size or len(group) >= most:
            yield group
            group, held = [], 0
    if group:
        yield group
