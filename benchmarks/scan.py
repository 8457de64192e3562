"""How fast a folder of log files is scanned, against the least that any scan must do.

    python benchmarks/scan.py [--files N] [--records N] [--copies N] [--rounds N] [--folder F]

It writes seeded logs: records of KMS, in two folders, one where one file in five has a record of
Image Builder's and one where each has. Then, in turn, each contender has all cores:

- the floor: the files decompressed by isal, and nothing else
- search: `keyrunbook.logs.search`, as `runbook prove` calls it
- jq, DuckDB, trailscraper: the same question, on fewer files, since they are slower; those that
  are not installed are left out, and it says how to install them

All must find the same number of records. It prints the median of each one's gigabytes of log text
a second, and a processor's second, which other work on the machine disturbs less; its share of the
floor's; and the most memory of its largest process. Each is timed as a command, start included.
What is aimed at: half of the floor where one file in five has a hit and 0.35 where each has; 10
times jq and 20 times trailscraper; under 100 MB a process.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from multiprocessing import get_context
from pathlib import Path
from typing import Any

CORES = os.cpu_count() or 1
FOLDERS = {"one file in five": 5, "each file": 1}
AIMS = {"one file in five": 0.5, "each file": 0.35}
START = datetime(2026, 3, 1, tzinfo=UTC)
JQ = (
    '.Records[] | select(.eventSource == "kms.amazonaws.com"'
    ' and .userIdentity.invokedBy == "imagebuilder.amazonaws.com") | .eventID'
)
SQL = """
    SELECT count(*) FROM (
        SELECT unnest(Records) AS record FROM read_json(
            {files}, columns = {{Records: 'JSON[]'}}, maximum_object_size = 134217728))
    WHERE record->>'$.eventSource' = 'kms.amazonaws.com'
      AND record->>'$.userIdentity.invokedBy' = 'imagebuilder.amazonaws.com'
"""


@dataclass
class Logs:
    """A folder of logs: its files, of which so many are `different`, and their text's bytes."""

    files: list[Path]
    different: int
    bytes_each: int
    one_hit_in: int

    def hits(self, files: int) -> int:
        """How many records of Image Builder's the first `files` files hold."""
        return sum(1 for number in range(files) if number % self.one_hit_in == 0)


def record(rng: random.Random, time_: datetime, invoked_by: str) -> dict[str, Any]:
    """A record of KMS as a busy account has them; one in 50 has JSON with escapes in a string."""

    def uuid() -> str:
        text = f"{rng.getrandbits(128):032x}"
        return "-".join((text[:8], text[8:12], text[12:16], text[16:20], text[20:]))

    role = f"Role{rng.randrange(60)}"
    key = f"arn:aws:kms:us-west-2:111122223333:key/{uuid()}"
    note = {"note": '{"Effect":"Allow","Condition":"\x1f<a>"}'} if rng.random() < 0.02 else {}
    return {
        "eventVersion": "1.11",
        "userIdentity": {
            "type": "AssumedRole",
            "principalId": f"AROA{rng.getrandbits(80):020X}:session",
            "arn": f"arn:aws:sts::111122223333:assumed-role/{role}/s-{rng.randrange(10**9)}",
            "accountId": "111122223333",
            "accessKeyId": f"ASIA{rng.getrandbits(64):016X}",
            "sessionContext": {
                "sessionIssuer": {
                    "type": "Role",
                    "principalId": f"AROA{role:0>20}",
                    "arn": f"arn:aws:iam::111122223333:role/{role}",
                    "accountId": "111122223333",
                    "userName": role,
                },
                "attributes": {"creationDate": "2026-03-01T00:00:00Z", "mfaAuthenticated": "false"},
            },
            "invokedBy": invoked_by,
        },
        "eventTime": time_.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "eventSource": "kms.amazonaws.com",
        "eventName": rng.choice(["Decrypt", "GenerateDataKey", "DescribeKey"]),
        "awsRegion": "us-west-2",
        "sourceIPAddress": f"10.{rng.randrange(256)}.{rng.randrange(256)}.{rng.randrange(256)}",
        "userAgent": "aws-sdk-java/2.30.1 Linux/5.10.240 md/internal exec-env/AWS_Lambda_java17",
        "requestParameters": {
            "encryptionContext": {
                "aws:s3:arn": f"arn:aws:s3:::bucket-{rng.randrange(99)}/{uuid()}"
            },
            "encryptionAlgorithm": "SYMMETRIC_DEFAULT",
            "keyId": key,
            **note,
        },
        "responseElements": None,
        "requestID": uuid(),
        "eventID": uuid(),
        "readOnly": True,
        "resources": [{"accountId": "111122223333", "type": "AWS::KMS::Key", "ARN": key}],
        "eventType": "AwsApiCall",
        "managementEvent": True,
        "recipientAccountId": "111122223333",
        "eventCategory": "Management",
        "tlsDetails": {"tlsVersion": "TLSv1.3", "cipherSuite": "TLS_AES_128_GCM_SHA256"},
    }


def write_log(folder: Path, number: int, records: int, one_hit_in: int, copies: int) -> int:
    """Write one log file and its copies; its text's bytes."""
    rng = random.Random(number)
    hit = rng.randrange(records) if number % one_hit_in == 0 else -1
    services = ["s3.amazonaws.com", "ec2.amazonaws.com", "lambda.amazonaws.com"]
    listed = [
        record(
            rng,
            START + timedelta(minutes=5 * number, seconds=at * 300 // records),
            "imagebuilder.amazonaws.com" if at == hit else rng.choice(services),
        )
        for at in range(records)
    ]
    text = json.dumps({"Records": listed}, separators=(",", ":")).encode()
    packed = gzip.compress(text, 6, mtime=0)
    when = START + timedelta(minutes=5 * number + 5)
    for copy in range(copies):
        mark = f"{copy:04}{rng.getrandbits(48):012X}"
        name = f"111122223333_CloudTrail_us-west-2_{when:%Y%m%dT%H%MZ}_{mark}.json.gz"
        (folder / f"{copy:04}" / name).write_bytes(packed)
    return len(text)


def write_logs(folder: Path, files: int, records: int, copies: int, one_hit_in: int) -> Logs:
    """Write a folder of logs, on all cores."""
    for copy in range(copies):
        (folder / f"{copy:04}").mkdir(parents=True)
    with ProcessPoolExecutor(CORES, get_context("spawn")) as pool:
        tasks = [
            pool.submit(write_log, folder, number, records, one_hit_in, copies)
            for number in range(files)
        ]
        sizes = [task.result() for task in tasks]
    return Logs(sorted(folder.glob("*/*.gz")), files, sum(sizes) // len(sizes), one_hit_in)


def decompress(path: str) -> int:
    """A file's text, read into one buffer and forgotten."""
    from isal import igzip

    buffer, size = bytearray(128 << 10), 0
    with open(path, "rb") as file, igzip.IGzipFile(fileobj=file, mode="rb") as text:
        while got := text.readinto(buffer):
            size += got
    return size


def floor(files: list[str]) -> int:
    """Decompress all, on all cores; nothing can be found that way."""
    with ProcessPoolExecutor(CORES, get_context("spawn")) as pool:
        for _ in pool.map(decompress, files, chunksize=2):
            pass
    return -1


def search(files: list[str]) -> int:
    """What the runbook does."""
    from keyrunbook import logs

    found = logs.search(files)
    assert found.searched.complete, found.searched
    return len(found.records)


def duckdb(files: list[str]) -> int:
    """DuckDB with all threads; in a process of the Python that has it."""
    import duckdb as engine

    engine.execute(f"SET threads = {CORES}")
    return int(engine.sql(SQL.format(files=files)).fetchall()[0][0])


INSIDE = {"floor": floor, "search": search, "duckdb": duckdb}


def jq_command(files: list[Path]) -> list[str]:
    """As many jq at a time as there are cores."""
    words = f"""gzip -dc "$1" | jq -r '{JQ.replace("'", "")}'"""
    script = 'printf "%s\\0" "$@" | xargs -0 -P "$CORES" -n 1 sh -c "$EACH" each'
    return ["env", f"CORES={CORES}", f"EACH={words}", "sh", "-c", script, "all", *map(str, files)]


def trailscraper_command(program: str, folder: Path) -> list[str]:
    """It has no question about invokedBy, so it is asked for all of a span and read by nobody."""
    return [
        program, "select", "--log-dir", str(folder),
        "--from", "2026-03-01T00:00:00Z", "--to", "2026-03-01T00:00:00Z",
    ]  # fmt: skip


@dataclass
class Contender:
    """A command, the files it is given, and what was measured."""

    name: str
    command: list[str]
    files: int
    hits: int | None
    seconds: list[float] = field(default_factory=list)
    processor: list[float] = field(default_factory=list)
    megabytes: float = 0.0

    def run(self) -> None:
        """Time it once, and hold it to its answer."""
        with tempfile.TemporaryFile() as out:
            started = time.perf_counter()
            process = subprocess.Popen(self.command, stdout=out)
            _, status, usage = os.wait4(process.pid, 0)
            self.seconds.append(time.perf_counter() - started)
            process.returncode = os.waitstatus_to_exitcode(status)
            if process.returncode:
                raise SystemExit(f"{self.name} ended with status {process.returncode}")
            self.processor.append(usage.ru_utime + usage.ru_stime)
            # Of the largest process below it; kilobytes, but bytes on macOS.
            unit = 1e6 if sys.platform == "darwin" else 1e3
            self.megabytes = max(self.megabytes, usage.ru_maxrss / unit)
            out.seek(0)
            text = out.read().decode()
        if self.hits is not None:
            found = int(text) if text.strip().isdigit() else len(text.split())
            if found != self.hits:
                raise SystemExit(f"{self.name} found {found} records, not {self.hits}")


def contenders(logs: Logs, python: str | None, trailscraper: str | None) -> list[Contender]:
    """Those that are here, each with the files that it is given."""
    few = logs.files[: min(2 * CORES, logs.different)]
    hits = logs.hits(len(few))

    def inside(name: str, files: list[Path], with_: str = sys.executable) -> list[str]:
        return [with_, __file__, "--inside", name, *map(str, files)]

    every = len(logs.files)
    found = [
        Contender("the floor", inside("floor", logs.files), every, None),
        # The copies hold the same records, and each counts once.
        Contender("search", inside("search", logs.files), every, logs.hits(logs.different)),
    ]
    if shutil.which("jq"):
        found.append(Contender("jq", jq_command(few), len(few), hits))
    if python:
        found.append(Contender("DuckDB", inside("duckdb", few, python), len(few), hits))
    if trailscraper:
        folder = few[0].parent.parent / "few"
        folder.mkdir()
        for path in few:
            (folder / path.name).symlink_to(path)
        command = trailscraper_command(trailscraper, folder)
        found.append(Contender("trailscraper", command, len(few), None))
    return found


def has_duckdb(python: str) -> bool:
    """Whether that Python has DuckDB."""
    return not subprocess.run([python, "-c", "import duckdb"], capture_output=True).returncode


def table(title: str, logs: Logs, measured: list[Contender]) -> str:
    """The table of one folder, in Markdown."""

    def rate(one: Contender, seconds: list[float]) -> float:
        return one.files * logs.bytes_each / statistics.median(seconds) / 1e9

    floor_, ours = measured[0], measured[1]
    size = len(logs.files) * logs.bytes_each / 1e9
    lines = [
        f"{title} has a hit ({len(logs.files)} files, {size:.1f} GB of text):",
        "",
        "| tool | GB/s | of the floor | search is faster | GB a processor's second | of the floor "
        "| largest process |",
        "|---|---|---|---|---|---|---|",
    ]
    for one in measured:
        all_cores, each = rate(one, one.seconds), rate(one, one.processor)
        lines.append(
            f"| {one.name} | {all_cores:.3f} | {all_cores / rate(floor_, floor_.seconds):.2f} "
            f"| {rate(ours, ours.seconds) / all_cores:.1f} × | {each:.3f} "
            f"| {each / rate(floor_, floor_.processor):.2f} | {one.megabytes:.0f} MB |"
        )
    return "\n".join(lines)


def main() -> None:
    """Write the logs, run each contender in turn, print a table for each folder."""
    if sys.argv[1:2] == ["--inside"]:
        print(INSIDE[sys.argv[2]](sys.argv[3:]))
        return
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--files", type=int, default=20, help="files of each folder")
    parser.add_argument("--records", type=int, default=20_000, help="records of each file")
    parser.add_argument("--copies", type=int, default=8, help="of each file, to have more of them")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--folder", type=Path, help="where to write the logs; a temporary one")
    parser.add_argument("--duckdb", default=sys.executable, help="a Python that has DuckDB")
    parser.add_argument("--trailscraper", default="trailscraper", help="the program")
    words = parser.parse_args()
    if min(words.files, words.records, words.copies, words.rounds) < 1:
        parser.error("files, records, copies and rounds are 1 or more")
    python = words.duckdb if has_duckdb(words.duckdb) else None
    trailscraper = shutil.which(words.trailscraper)
    for name, there, how in [
        ("jq", shutil.which("jq"), "apt-get install jq, or brew install jq"),
        ("DuckDB", python, "pip install duckdb in a virtual environment; --duckdb ITS_PYTHON"),
        ("trailscraper", trailscraper, "pip install trailscraper; --trailscraper PROGRAM"),
    ]:
        if not there:
            print(f"{name} is not here and is left out. To compare with it: {how}")
    with tempfile.TemporaryDirectory(dir=words.folder) as folder:
        for title, one_hit_in in FOLDERS.items():
            where = Path(folder) / str(one_hit_in)
            logs = write_logs(where, words.files, words.records, words.copies, one_hit_in)
            measured = contenders(logs, python, trailscraper)
            for number in range(words.rounds):
                for one in measured:
                    if number == 0 or one.files == len(logs.files) or number < 3:
                        one.run()
            print(f"\n{table(title, logs, measured)}", flush=True)
            floors, ours = measured[0].seconds, measured[1].seconds
            share = statistics.median(f / o for f, o in zip(floors, ours, strict=True))
            print(
                f"\nsearch has {share:.2f} of the floor (median of {len(ours)} rounds, each "
                f"round's two beside each other); aimed at is {AIMS[title]} or more"
            )
            shutil.rmtree(where)


if __name__ == "__main__":
    main()
