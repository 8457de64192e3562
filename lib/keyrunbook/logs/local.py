"""The records of log files on this machine, and how far those files reach.

Files are scanned on all cores, each by a process of its own with one buffer; few or small ones by
this process alone. What is searched for is a word: *imagebuilder* for the proof, a key's id for
its usage. `search` gives every record that mentions one, and tells of every file and record that
it could not read.

What files cover is judged by the times of records in them and in their names. A folder can lack a
file, and then nothing here shows it: absence is never evidence. CloudTrail's digests show whether
files are as they were delivered (`keyrunbook.logs.integrity`).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from io import BufferedReader
from multiprocessing import get_context
from pathlib import Path
from typing import Final

from keyrunbook.errors import ParameterError, RunbookError
from keyrunbook.logs.files import Files, batches, find
from keyrunbook.logs.mention import Mention
from keyrunbook.logs.names import digest_of, log_name
from keyrunbook.logs.reach import Found, Wanted, found
from keyrunbook.logs.scan import Scanned, Scanner

IMAGE_BUILDER_WORD: Final = "imagebuilder"
"""In every record of Image Builder's, and of calls that it made, whatever became of them: in
eventSource, in invokedBy, in the encryption context."""

_ALONE: Final = 16 << 20  # bytes on disk that are scanned before another process has started
_BATCH: Final = 4 << 20
_BATCH_FILES: Final = 256


def search(
    paths: Iterable[str] | Iterable[os.PathLike[str]],
    wanted: Wanted = Wanted(),  # noqa: B008 - frozen
    *,
    words: tuple[str, ...] = (IMAGE_BUILDER_WORD,),
    every: bool = False,
    hashed: bool = False,
    workers: int | None = None,
    progress: Callable[[int, int], None] = lambda done, of: None,
) -> Found:
    """Scan log files for the records that mention one of `words`; with `every`, for all.

    With `every` each record of each file is parsed, so what is malformed is told wherever it is;
    without, only where it may matter. `hashed` takes each text's SHA-256 for
    `keyrunbook.logs.integrity`. `workers` is the most processes, by default one a core.
    `progress` is told the files read so far, and of how many.

    Raises:
        ParameterError: a path leads nowhere, or no log file is there.
        RunbookError: a process that scanned was ended from outside.
    """
    places = [os.fspath(path) for path in paths]
    files, where = find(places), ", ".join(places)
    kept = [
        (path, size)
        for path, size in zip(files.logs, files.sizes, strict=True)
        if wanted.may_be_in(log_name(path.name))
    ]
    if not files.logs and not files.troubles:
        raise ParameterError(
            f"There is no log file (.json.gz, .json) in {where}.",
            "Give the folder that holds CloudTrail's log files, at any depth.",
        )
    mention = None if every else Mention(words)
    scanner = partial(Scanner, mention, keep=wanted.holds, hashed=hashed)
    scanned: list[Scanned] = []
    for done in _scan_all(kept, scanner, workers or os.cpu_count() or 1):
        scanned += done
        progress(len(scanned), len(kept))
    return found(
        f"the log files in {where}",
        wanted,
        scanned,
        troubles=files.troubles,
        notes=[*files.notes, *_left_out(files, len(kept))],
        digests=[
            path
            for path in files.digests
            if (of := digest_of(path.name)) is not None and wanted.is_of(*of)
        ],
    )


def _left_out(files: Files, kept: int) -> Iterator[str]:
    if left := len(files.logs) - kept:
        yield f"{_were(left, 'log')} not read: by the name, of another account, Region or time"
    if files.others:
        yield f"{_were(len(files.others), 'other')} not read, {files.others[0]} among them"


def _were(number: int, kind: str) -> str:
    return f"1 {kind} file was" if number == 1 else f"{number} {kind} files were"


MakeScanner = Callable[[], Scanner]


def _scan_all(
    files: Sequence[tuple[Path, int]], make: MakeScanner, workers: int
) -> Iterator[list[Scanned]]:
    groups = list(batches(files, size=_BATCH, most=_BATCH_FILES))
    total = sum(size for _, size in files)
    workers = min(workers, len(groups))
    if workers <= 1 or total <= _ALONE:
        scanner = make()
        for group in groups:
            yield _scan(scanner, group)
        return
    # Fresh processes: a fork of one that has threads, as a notebook's kernel has, may hang.
    pool = ProcessPoolExecutor(workers, get_context("spawn"), _start, (make,))
    try:
        tasks: list[Future[list[Scanned]]] = [pool.submit(_scan_here, group) for group in groups]
        for task in as_completed(tasks):
            yield task.result()
    except BrokenProcessPool as error:
        raise RunbookError(
            "A process that scanned log files was ended from outside, so not all were read.",
            "Run it again; where memory is short, with fewer workers.",
        ) from error
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


_here: list[Scanner] = []
"""The scanner of a process that does nothing else."""


def _start(make: MakeScanner) -> None:
    _here.append(make())


def _scan_here(paths: list[Path]) -> list[Scanned]:
    return _scan(_here[0], paths)


def _scan(scanner: Scanner, paths: list[Path]) -> list[Scanned]:
    return [scanner.scan(str(path), partial(_open, path)) for path in paths]


def _open(path: Path) -> BufferedReader:
    return path.open("rb")
