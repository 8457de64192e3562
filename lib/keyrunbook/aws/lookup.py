"""CloudTrail records from LookupEvents: free, no trail needed, ninety days, and slow.

Decrypt is among an account's commonest events, and the API gives at most a hundred records a
second to all who ask in an account and Region. So this source asks for one event name (or one
event source) in narrow spans around known call times, never for a key: KMS documents look-up by
resource only for calls that change a key. Past its cap of calls it stops, and says so.

Source: https://docs.aws.amazon.com/awscloudtrail/latest/userguide/view-cloudtrail-events.html
Source: https://docs.aws.amazon.com/awscloudtrail/latest/APIReference/API_LookupEvents.html
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
import stat
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any, Final, Protocol

import botocore.session
import filelock
from botocore.exceptions import BotoCoreError, ClientError

from keyrunbook.aws.refusals import explain
from keyrunbook.errors import RunbookError
from keyrunbook.proof import Searched, Span
from keyrunbook.records import MalformedRecord, Record, distinct, parse_record

CALLS_PER_SECOND: Final = 2
PAGE: Final = 50
REACH: Final = timedelta(days=90)
"""The API's limits: calls a second in an account and Region, records a page, days back."""
SAMPLE: Final = 4
"""Pages of a span after which it is believed how many it seems to have."""

_FORGOTTEN_S: Final = 60  # what was asked longer ago than a period holds nobody back
_MARGIN_S: Final = 0.05  # the network may bring two calls closer together than they were sent


@cache
def recorded_in(source: str, region: str) -> str:
    """The Region whose Event history has the events of a service that is called in `region`.

    That of the endpoint: IAM has one in a partition, and its events are there alone. STS's are
    recorded where it was asked, and the runbook's clients ask that of their Region. `source` is
    as records have it, ``iam.amazonaws.com``. Which Region that is, the AWS SDK's table tells;
    raises RunbookError for a partition of which it does not.

    Source: https://docs.aws.amazon.com/awscloudtrail/latest/userguide/cloudtrail-concepts.html#cloudtrail-concepts-global-service-events
    """
    if source != IAM:
        return region
    for partition in botocore.session.Session().get_data("endpoints")["partitions"]:
        iam = partition["services"].get("iam")
        if iam is not None and re.fullmatch(partition["regionRegex"], region):
            return str(iam["endpoints"][iam["partitionEndpoint"]]["credentialScope"]["region"])
    raise RunbookError(
        f"In which Region the events of IAM are recorded for {region} is not known.",
        "Look for them in the log files of a trail of all Regions.",
    )


def seconds_for(calls: int) -> int:
    """How long so many calls take at least, in seconds."""
    return math.ceil(calls / CALLS_PER_SECOND)


IAM: Final = "iam.amazonaws.com"


class Limiter(Protocol):
    """Holds a caller back until it may call."""

    def wait(self) -> None:
        """Return when the next call may be made."""


class FileLimiter:
    """At most two calls a second by all processes of this user that share `path`.

    The file holds when the last calls were made; a lock beside it is held while a caller is held
    back, so that the next one sees its call. `clock` is the time of day in seconds, the same for
    all processes.
    """

    def __init__(
        self,
        path: Path,
        *,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._path = path
        self._lock = filelock.FileLock(f"{path}.lock", mode=0o600)
        self._clock = clock
        self._sleep = sleep

    def wait(self) -> None:
        """Return when fewer than two calls were made in the last second; this one is counted."""
        with self._lock:
            period = 1.0 + _MARGIN_S
            last = self._last_calls()
            if len(last) >= CALLS_PER_SECOND:
                # A clock that was set back must not hold a caller for longer than a period.
                due = last[-CALLS_PER_SECOND] + period - self._clock()
                if due > 0:
                    self._sleep(min(due, period))
            self._path.write_text(json.dumps([*last[1 - CALLS_PER_SECOND :], self._clock()]))

    def _last_calls(self) -> list[float]:
        # An unreadable file may hide recent calls: taken as two that were made just now.
        now = self._clock()
        try:
            times = json.loads(self._path.read_text())
        except FileNotFoundError:
            return []
        except ValueError:
            return [now] * CALLS_PER_SECOND
        good = isinstance(times, list) and all(
            isinstance(t, int | float) and math.isfinite(t) for t in times
        )
        return [float(t) for t in times] if good else [now] * CALLS_PER_SECOND


def limiter_for(
    account: str,
    region: str,
    *,
    endpoint_url: str | None = None,
    directory: Path | None = None,
    clock: Callable[[], float] = time.time,
    sleep: Callable[[float], None] = time.sleep,
) -> FileLimiter:
    """The limiter that all processes of this user share for `account` and `region`.

    Give `endpoint_url` only where it is not AWS's own: accounts of two sandboxes are two accounts.

    Raises:
        RunbookError: the directory is not this user's alone.
    """
    folder = runtime_directory() if directory is None else directory
    _make_private(folder)
    _forget_endpoints(folder)
    name = f"lookup-{account}-{region}"
    if endpoint_url is not None:
        name += "-" + hashlib.sha256(endpoint_url.encode()).hexdigest()[:12]
    return FileLimiter(folder / f"{name}.json", clock=clock, sleep=sleep)


def runtime_directory(environment: Mapping[str, str] = os.environ) -> Path:
    """Where this user's processes meet: in XDG_RUNTIME_DIR, else among the temporary files."""
    base = environment.get("XDG_RUNTIME_DIR")
    if base and Path(base).is_dir():
        return Path(base) / "keyrunbook"
    return Path(tempfile.gettempdir()) / f"keyrunbook-{os.getuid()}"


def _forget_endpoints(folder: Path) -> None:
    """Remove what was kept for endpoints that nobody asks any more: those of sandboxes."""
    for path in folder.glob(f"lookup-*-{'[0-9a-f]' * 12}.json"):
        try:
            asked = path.lstat().st_mtime
        except FileNotFoundError:
            continue  # another process removed it
        if time.time() - asked > _FORGOTTEN_S:
            for left in (path, Path(f"{path}.lock")):
                left.unlink(missing_ok=True)


def _make_private(folder: Path) -> None:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = folder.lstat()
    except OSError as error:
        raise RunbookError(
            f"The directory {folder} cannot be used: {error.strerror}.",
            "Remove what is in the way, or set XDG_RUNTIME_DIR to a directory of your own.",
        ) from error
    private = (
        stat.S_ISDIR(found.st_mode)
        and found.st_uid == os.getuid()
        and not found.st_mode & (stat.S_IRWXG | stat.S_IRWXO)
    )
    if not private:
        raise RunbookError(
            f"The directory {folder} is not yours alone, so others could hold up this run.",
            f"Remove it, or take it back: chmod 700 {folder}",
        )


@dataclass(frozen=True, slots=True)
class Found:
    """The records that a search found, each once and oldest first, and what it covered."""

    records: tuple[Record, ...]
    searched: Searched


class LookupSource:
    """Searches the Event history of one account and Region.

    Every attempt on the wire passes `limiter`, the AWS SDK's own retries too. `clock` is the
    service's time. `max_calls` caps one search. `remark` is added to the source's name: whose
    endpoint it is, where it is not AWS's. `estimated` is told how many calls a search seems to
    take, once a page of each span was read.
    """

    def __init__(
        self,
        client: Any,
        account: str,
        region: str,
        limiter: Limiter,
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        max_calls: int = 240,
        remark: str = "",
        estimated: Callable[[int], None] = lambda calls: None,
    ) -> None:
        self.name = f"CloudTrail Event history of {account} in {region}{remark}"
        self._client = client
        self._region = region
        self._clock = clock
        self._max_calls = max_calls
        self._estimated = estimated
        event, mine = "before-send.cloudtrail.LookupEvents", "keyrunbook-limiter"
        client.meta.events.unregister(event, unique_id=mine)
        client.meta.events.register_first(event, _Hold(limiter), unique_id=mine)

    def search(self, spans: Sequence[Span]) -> Found:
        """Ask for each of `spans`, page by page, and say how far they were answered.

        A span is incomplete when it reaches back further than Event history does, when its service
        has its events in another Region, when the cap of calls was met, or would surely be, or when
        it held a record that could not be read; such records are in `Searched.malformed`. How many
        calls it takes is estimated by the pages that were read: the more of a span's time they
        cover, the fewer are left. A record that is found by two spans is given once.

        Raises:
            AwsRefused: AWS answered with an error, throttling that outlasted the retries included.
            Unreachable: the endpoint did not answer.
            ValueError: a span of every record, which LookupEvents cannot be asked for.
        """
        search = _Search(self._client, self._clock(), self._max_calls, self._estimated)
        search.all(spans, self._region)
        return Found(
            tuple(distinct(search.records)),
            Searched(
                source=self.name,
                spans=tuple(spans),
                at=search.at,
                calls=search.calls,
                incomplete=tuple(search.why),
                why_incomplete=" ".join(dict.fromkeys(search.why.values())),
                malformed=tuple(search.malformed.values()),
            ),
        )


class _Hold:
    """botocore's event handler that waits; its None lets the request go on."""

    def __init__(self, limiter: Limiter) -> None:
        self._limiter = limiter

    def __call__(self, **_: Any) -> None:
        self._limiter.wait()


class _Asked:
    """One span, as far as it was asked: how many pages, and how far back they go."""

    def __init__(self, span: Span, since: datetime) -> None:
        self.span = span
        self.since = since
        self.pages = 0
        self.more = True
        self._oldest: datetime | None = None
        self.request: dict[str, Any] = {
            "LookupAttributes": [
                {"AttributeKey": span.attribute, "AttributeValue": span.value},
            ],
            "StartTime": since.astimezone(UTC),
            "EndTime": _whole_second_after(span.until),
            "MaxResults": PAGE,
        }

    def took(self, page: Mapping[str, Any]) -> None:
        """Note a page: the newest events come first."""
        self.pages += 1
        times = [event["EventTime"] for event in page.get("Events", ()) if "EventTime" in event]
        self._oldest = min(times, default=self._oldest)
        self.more = bool(page.get("NextToken"))
        if self.more:
            self.request["NextToken"] = page["NextToken"]

    @property
    def estimated(self) -> int:
        """How many pages it has in all, if its events are spread evenly over its time."""
        if not self.more or self._oldest is None:
            return self.pages + self.more
        passed = max(self.span.until - self._oldest, timedelta(seconds=1))  # records' precision
        pages = math.ceil(self.pages * (self.span.until - self.since) / passed)
        return max(self.pages + 1, pages)


class _Search:
    """One search under way: first a page of each span, which tells how many there will be."""

    def __init__(
        self, client: Any, at: datetime, max_calls: int, estimated: Callable[[int], None]
    ) -> None:
        self.at = at
        self.calls = 0
        self.records: list[Record] = []
        self.malformed: dict[str, MalformedRecord] = {}
        self.why: dict[Span, str] = {}
        self._client = client
        self._max_calls = max_calls
        self._estimated = estimated

    def all(self, spans: Sequence[Span], region: str) -> None:
        """Ask for all of them, or say of which not, and why."""
        asked = [_Asked(span, since) for span in spans if (since := self._reached(span, region))]
        if len(asked) > self._max_calls:
            return self._stop(asked, f"needs {len(asked)} calls or more")
        for one in asked:
            self._page(one)
        calls = sum(one.estimated for one in asked)
        self._estimated(calls)
        for one in asked:
            while one.more:
                calls = sum(one.estimated for one in asked)
                if self.calls >= self._max_calls:
                    return self._stop(asked, "stopped at")
                if one.pages >= SAMPLE and calls > self._max_calls:
                    return self._stop(asked, f"needs {_told(calls)}")
                self._page(one)
        return None

    def _reached(self, span: Span, region: str) -> datetime | None:
        """When to begin with a span; None where all of it is out of reach."""
        if span.value is None:
            raise ValueError("LookupEvents is asked for one event name or event source at a time")
        if span.attribute == "EventSource" and (home := recorded_in(span.value, region)) != region:
            self.why[span] = f"The events of {span.value} are recorded in {home}, not in {region}."
            return None
        reach = self.at - REACH
        since = max(span.since, reach)
        if span.since < reach:
            self.why[span] = (
                f"Event history reaches back to {reach.isoformat(timespec='seconds')} only; "
                "a trail's log files in S3, or Athena over them, may hold older records."
            )
        return since if since <= span.until else None

    def _stop(self, asked: Sequence[_Asked], why: str) -> None:
        """Leave what is not answered, and say what would answer it."""
        than = "" if why.startswith("stopped") else ", more than"
        for one in asked:
            if one.more:
                self.why[one.span] = (
                    f"The search {why}{than} its cap of {self._max_calls} calls (lookup_calls); a "
                    "trail's log files in S3 (--source trail, or s3://…), or Athena over them "
                    "(--source athena:…), hold the same records and are quicker."
                )

    def _page(self, asked: _Asked) -> None:
        self.calls += 1
        try:
            page: Mapping[str, Any] = self._client.lookup_events(**asked.request)
        except (ClientError, BotoCoreError) as error:
            raise explain(error) from error
        for event in page.get("Events", ()):
            self._take(event, asked.span)
        asked.took(page)

    def _take(self, event: Mapping[str, Any], span: Span) -> None:
        event_id = event.get("EventId") or "without id"
        place = f"LookupEvents, event {event_id}"
        text = event.get("CloudTrailEvent")
        try:
            if not isinstance(text, str):
                raise MalformedRecord(place, "the event holds no record (CloudTrailEvent)")
            record = parse_record(text, place)
        except MalformedRecord as error:
            self.malformed[str(error)] = error
            self.why[span] = f"A record could not be read ({error})."
            return
        self.records.append(record)


def _told(calls: int) -> str:
    return f"about {calls} calls, {seconds_for(calls)} seconds"


def _whole_second_after(time: datetime) -> datetime:
    # The request carries whole seconds, and drops what is over.
    time = time.astimezone(UTC)
    return time if not time.microsecond else time.replace(microsecond=0) + timedelta(seconds=1)
