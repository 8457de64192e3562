"""CloudTrail's log files as records, near the speed of decompressing them.

    found = search(["AWSLogs"], Wanted.by(claim))
    verdict = prove(found.records, claim, found.searched)

`search` reads files, folders and globs on this machine; `Found` has the records, what the files
cover, and the notes that belong beside a verdict. Nothing is skipped in silence: what could not be
read is in `found.searched.malformed`, with file and position.

    found = search(["AWSLogs"], hashed=True)
    checked = integrity(found, read_keys("keys.json"))
    vouched = set(found.places(verdict.events)) <= set(checked.as_delivered)

`integrity` judges the files by CloudTrail's digests that lie beside them: proven, not proven or
refuted, with the files; `checked.sentence` says it in words. The newest hour's files are in no
digest yet, so ask of the verdict's own files, as in the last line, or with `until`.

From the edge inwards: `local` (search, on all cores) and `local_digests` (integrity) read files of
this machine; `files` says which; `scan` reads one (decompress, hash, search, parse what must be
parsed), by `document` (where records end) and `mention` (the search that never misses); `names`.
`reach` puts the answer together, and `digests` judges; both are pure. A source that fetches files
from elsewhere gives streams to a `Scanner`, and what they were found to be to `found`.
"""

from __future__ import annotations

from keyrunbook.logs.digests import (
    About,
    Checked,
    DigestFile,
    Integrity,
    LogFile,
    PublicKey,
    check,
)
from keyrunbook.logs.local import IMAGE_BUILDER_WORD, search
from keyrunbook.logs.local_digests import integrity, keys_from, log_files, read_keys
from keyrunbook.logs.mention import Mention
from keyrunbook.logs.reach import LATE, Found, Wanted, found
from keyrunbook.logs.scan import Scanned, Scanner

__all__ = [
    "IMAGE_BUILDER_WORD",
    "LATE",
    "About",
    "Checked",
    "DigestFile",
    "Found",
    "Integrity",
    "LogFile",
    "Mention",
    "PublicKey",
    "Scanned",
    "Scanner",
    "Wanted",
    "check",
    "found",
    "integrity",
    "keys_from",
    "log_files",
    "read_keys",
    "search",
]
