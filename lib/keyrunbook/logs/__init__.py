"""CloudTrail's log files as records, near the speed of decompressing them.

    found = search(["AWSLogs"], Wanted(since, until, account, region))
    verdict = prove(found.records, claim, found.searched)

`search` reads files, folders and globs on this machine; `Found` has the records, what the files
cover, and the notes that belong beside a verdict. Nothing is skipped in silence: what could not be
read is in `found.searched.malformed`, with file and position.

From the edge inwards: `search` (all cores), `files` (what is read), `scan` (one file: decompress,
hash, search, parse what must be parsed), `document` (where records end), `mention` (the search
that never misses), `names`; `found` puts the answer together. A source that fetches files from
elsewhere gives streams to a `Scanner` and what they were found to be to `found`.
"""

from __future__ import annotations

from keyrunbook.logs.found import LATE, Found, Wanted, found
from keyrunbook.logs.mention import Mention
from keyrunbook.logs.scan import Scanned, Scanner
from keyrunbook.logs.search import IMAGE_BUILDER_WORD, search

__all__ = [
    "IMAGE_BUILDER_WORD",
    "LATE",
    "Found",
    "Mention",
    "Scanned",
    "Scanner",
    "Wanted",
    "found",
    "search",
]
