"""LookupEvents: never faster than allowed, page by page, and honest about what it did not see."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.stub import Stubber
from hypothesis import given
from hypothesis import strategies as st
from keyrunbook.aws.clients import Clients
from keyrunbook.aws.lookup import (
    CALLS_PER_SECOND,
    PAGE,
    REACH,
    SAMPLE,
    FileLimiter,
    Found,
    LookupSource,
    limiter_for,
    recorded_in,
    runtime_directory,
)
from keyrunbook.errors import AwsRefused, RunbookError, Unreachable
from keyrunbook.proof import Span
from keyrunbook.steps.events import history_of

ACCOUNT, REGION = "111122223333", "us-west-2"
NOW = datetime(2026, 1, 31, 9, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
DECRYPTS = Span("EventName", "Decrypt", NOW - 5 * MINUTE, NOW)


class Time:
    """A clock that sleeping moves on."""

    def __init__(self, now: float = 1000.0) -> None:
        self.now = now
        self.slept: list[float] = []

    def clock(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


# The limiter


def limiter(path: Path, time: Time) -> FileLimiter:
    return FileLimiter(path, clock=time.clock, sleep=time.sleep)


def test_two_calls_go_at_once_and_the_third_waits(tmp_path: Path) -> None:
    time = Time()
    held = limiter(tmp_path / "calls.json", time)
    for _ in range(5):
        held.wait()
    assert time.slept == pytest.approx([1.05, 1.05])


def test_limiters_of_one_file_are_one(tmp_path: Path) -> None:
    time = Time()
    for _ in range(3):
        limiter(tmp_path / "calls.json", time).wait()
    assert time.slept == pytest.approx([1.05])


@given(st.lists(st.floats(0, 3), max_size=20))
def test_no_second_ever_holds_three_calls(
    tmp_path_factory: pytest.TempPathFactory, pauses: list[float]
) -> None:
    time, calls = Time(), []
    held = limiter(tmp_path_factory.mktemp("limiter") / "calls.json", time)
    for pause in pauses:
        time.now += pause
        held.wait()
        calls.append(time.now)
    for first, third in zip(calls, calls[CALLS_PER_SECOND:], strict=False):
        assert third - first > 1


@pytest.mark.parametrize("content", ["", "{", "null", '"x"', "[1, null]", "[NaN, NaN]", "{}"])
def test_an_unreadable_file_may_hide_recent_calls(tmp_path: Path, content: str) -> None:
    (tmp_path / "calls.json").write_text(content)
    time = Time()
    limiter(tmp_path / "calls.json", time).wait()
    assert time.slept == pytest.approx([1.05])


def test_a_clock_that_was_set_back_holds_for_one_period_at_most(tmp_path: Path) -> None:
    (tmp_path / "calls.json").write_text("[90000.0, 90000.0]")
    time = Time()
    limiter(tmp_path / "calls.json", time).wait()
    assert time.slept == pytest.approx([1.05])


CALLER = """
import sys, time
from pathlib import Path
from keyrunbook.aws.lookup import FileLimiter
asked = []
def clock():
    asked.append(time.time())
    return asked[-1]
limiter = FileLimiter(Path(sys.argv[1]), clock=clock)
print("ready", flush=True)
sys.stdin.readline()
for _ in range(3):
    limiter.wait()
    print(asked[-1], flush=True)
"""


@pytest.mark.e2e
def test_processes_that_share_a_file_make_two_calls_a_second_together(tmp_path: Path) -> None:
    callers = [
        subprocess.Popen(
            [sys.executable, "-c", CALLER, str(tmp_path / "calls.json")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(3)
    ]
    for caller in callers:
        assert caller.stdout is not None
        assert caller.stdout.readline() == "ready\n"
    for caller in callers:
        assert caller.stdin is not None
        caller.stdin.write("go\n")
        caller.stdin.flush()
    calls = sorted(float(line) for caller in callers for line in caller.communicate()[0].split())
    assert [caller.returncode for caller in callers] == [0, 0, 0]
    assert len(calls) == 9
    assert all(later - earlier > 1 for earlier, later in zip(calls, calls[2:], strict=False))


def test_accounts_regions_and_endpoints_each_have_a_limiter(tmp_path: Path) -> None:
    folder = tmp_path / "run" / "keyrunbook"
    places = [
        (ACCOUNT, REGION, None),
        (ACCOUNT, "us-east-1", None),
        ("444455556666", REGION, None),
        (ACCOUNT, REGION, "http://127.0.0.1:5000"),
        (ACCOUNT, REGION, "http://127.0.0.1:5001"),
    ]
    time = Time()
    for account, region, endpoint in places:
        for _ in range(CALLS_PER_SECOND):
            limiter_for(
                account,
                region,
                endpoint_url=endpoint,
                directory=folder,
                clock=time.clock,
                sleep=time.sleep,
            ).wait()
    assert time.slept == []
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert len(list(folder.glob("lookup-*.json"))) == len(places)


def test_endpoints_that_are_gone_leave_no_files(tmp_path: Path) -> None:
    folder = tmp_path / "keyrunbook"

    def asked(endpoint: str | None) -> None:
        limiter_for(ACCOUNT, REGION, endpoint_url=endpoint, directory=folder).wait()

    for endpoint in (None, "http://127.0.0.1:5000"):
        asked(endpoint)
    for path in folder.iterdir():
        os.utime(path, (0, 0))
    asked("http://127.0.0.1:5001")
    asked("http://127.0.0.1:5002")
    assert len(list(folder.glob("*.json"))) == 3
    assert len(list(folder.glob("*.lock"))) == 3
    assert (folder / f"lookup-{ACCOUNT}-{REGION}.json").exists(), "AWS's own is kept"


@pytest.mark.parametrize("mode", [0o750, 0o707, 0o701])
def test_a_directory_that_others_can_enter_is_refused(tmp_path: Path, mode: int) -> None:
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared").chmod(mode)
    with pytest.raises(RunbookError, match="is not yours alone") as caught:
        limiter_for(ACCOUNT, REGION, directory=tmp_path / "shared")
    assert f"chmod 700 {tmp_path / 'shared'}" in caught.value.fix


def test_a_link_in_place_of_the_directory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir(mode=0o700)
    (tmp_path / "link").symlink_to(tmp_path / "mine")
    with pytest.raises(RunbookError, match="is not yours alone"):
        limiter_for(ACCOUNT, REGION, directory=tmp_path / "link")


def test_a_file_in_place_of_the_directory_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RunbookError, match="cannot be used"):
        limiter_for(ACCOUNT, REGION, directory=tmp_path / "file")


def test_processes_meet_in_the_runtime_directory(tmp_path: Path) -> None:
    assert runtime_directory({"XDG_RUNTIME_DIR": str(tmp_path)}) == tmp_path / "keyrunbook"
    for environment in ({}, {"XDG_RUNTIME_DIR": ""}, {"XDG_RUNTIME_DIR": str(tmp_path / "no")}):
        assert runtime_directory(environment).name.startswith("keyrunbook-")


# The search


class Counted:
    """A limiter that counts."""

    def __init__(self) -> None:
        self.calls = 0

    def wait(self) -> None:
        self.calls += 1


@pytest.fixture
def stub() -> Iterator[Stubber]:
    client = boto3.client(
        "cloudtrail", region_name=REGION, aws_access_key_id="x", aws_secret_access_key="y"
    )
    with Stubber(client) as stubber:
        yield stubber
        stubber.assert_no_pending_responses()


def source(stub: Stubber, **options: Any) -> LookupSource:
    return LookupSource(stub.client, ACCOUNT, REGION, Counted(), clock=lambda: NOW, **options)


def record(event_id: str, **changes: Any) -> dict[str, Any]:
    return {
        "eventVersion": "1.11",
        "eventID": event_id,
        "eventTime": "2026-01-31T08:59:00Z",
        "eventSource": "kms.amazonaws.com",
        "eventName": "Decrypt",
        "awsRegion": REGION,
        "userIdentity": {},
        **changes,
    }


def event(text: object, event_id: str = "e") -> dict[str, Any]:
    document = text if isinstance(text, str) else json.dumps(text)
    return {"EventId": event_id, "CloudTrailEvent": document}


def asked(span: Span, **changes: Any) -> dict[str, Any]:
    return {
        "LookupAttributes": [{"AttributeKey": span.attribute, "AttributeValue": span.value}],
        "StartTime": span.since,
        "EndTime": span.until,
        "MaxResults": PAGE,
        **changes,
    }


def answer(stub: Stubber, request: dict[str, Any], *events: Any, token: str | None = None) -> None:
    page: dict[str, Any] = {"Events": list(events)}
    stub.add_response("lookup_events", page | ({"NextToken": token} if token else {}), request)


def ids(found: Found) -> list[str]:
    return [one.event_id for one in found.records]


def test_a_span_is_asked_for_by_one_attribute_in_its_time(stub: Stubber) -> None:
    answer(stub, asked(DECRYPTS), event(record("1")))
    found = source(stub).search([DECRYPTS])
    assert ids(found) == ["1"]
    assert found.searched.spans == (DECRYPTS,)
    assert found.searched.source == "CloudTrail Event history of 111122223333 in us-west-2"
    assert (found.searched.at, found.searched.calls) == (NOW, 1)
    assert found.searched.complete


def test_pages_are_turned_to_the_last(stub: Stubber) -> None:
    answer(stub, asked(DECRYPTS), event(record("3")), token="a")
    answer(stub, asked(DECRYPTS, NextToken="a"), token="b")
    answer(stub, asked(DECRYPTS, NextToken="b"), event(record("1")), event(record("2")))
    found = source(stub).search([DECRYPTS])
    assert ids(found) == ["1", "2", "3"]
    assert found.searched.calls == 3
    assert found.searched.complete


def test_records_are_given_once_and_oldest_first(stub: Stubber) -> None:
    image_builder = Span("EventSource", "imagebuilder.amazonaws.com", DECRYPTS.since, NOW)
    older = record("z", eventTime="2026-01-31T08:58:00Z")
    answer(stub, asked(DECRYPTS), event(record("b")), event(record("a")), event(older))
    answer(stub, asked(image_builder), event(record("a")))
    assert ids(source(stub).search([DECRYPTS, image_builder])) == ["z", "a", "b"]


def test_two_records_of_one_id_that_differ_are_both_given(stub: Stubber) -> None:
    other = record("a", errorCode="AccessDenied")
    answer(stub, asked(DECRYPTS), event(record("a")), event(other))
    assert ids(source(stub).search([DECRYPTS])) == ["a", "a"]


def test_over_its_cap_the_search_stops_and_says_so(stub: Stubber) -> None:
    keys = Span("EventName", "GenerateDataKey", DECRYPTS.since, NOW)
    answer(stub, asked(DECRYPTS), event(record("1")), token="a")
    answer(stub, asked(keys), event(record("2")))
    answer(stub, asked(DECRYPTS, NextToken="a"), event(record("3")), token="b")
    searched = (found := source(stub, max_calls=3).search([DECRYPTS, keys])).searched
    assert ids(found) == ["1", "2", "3"]
    assert searched.calls == 3
    assert searched.incomplete == (DECRYPTS,)
    assert "stopped at its cap of 3 calls" in searched.why_incomplete
    assert "S3" in searched.why_incomplete
    assert "Athena" in searched.why_incomplete
    assert not searched.complete
    assert not searched.covers("kms.amazonaws.com", "Decrypt", DECRYPTS.since, NOW)


def test_with_fewer_calls_than_spans_nothing_is_asked(stub: Stubber) -> None:
    keys = Span("EventName", "GenerateDataKey", DECRYPTS.since, NOW)
    searched = source(stub, max_calls=1).search([DECRYPTS, keys]).searched
    assert (searched.calls, searched.incomplete) == (0, (DECRYPTS, keys))
    assert "needs 2 calls or more, more than its cap of 1 calls" in searched.why_incomplete


def at(seconds: float) -> dict[str, Any]:
    """An event of so many seconds before the span's end."""
    return {**event(record(f"{seconds}")), "EventTime": NOW - timedelta(seconds=seconds)}


@pytest.mark.parametrize(
    ("seconds", "estimate"),
    [
        (None, 2),  # a page without events tells nothing, but that there is another
        (300, 2),
        (150, 2),
        (100, 3),
        (1, 300),  # five minutes
        (0, 300),  # records tell whole seconds
    ],
)
def test_what_a_search_takes_is_estimated_by_the_first_page(
    stub: Stubber, seconds: float | None, estimate: int
) -> None:
    answer(stub, asked(DECRYPTS), *([] if seconds is None else [at(seconds)]), token="a")
    answer(stub, asked(DECRYPTS, NextToken="a"))
    told: list[int] = []
    found = source(stub, estimated=told.append).search([DECRYPTS])
    assert told == [estimate]
    assert found.searched.complete


def test_a_search_that_would_surely_be_over_its_cap_stops_early(stub: Stubber) -> None:
    for page in range(SAMPLE):
        request = asked(DECRYPTS) if not page else asked(DECRYPTS, NextToken="a")
        answer(stub, request, at(page + 1), token="a")
    searched = source(stub, max_calls=100).search([DECRYPTS]).searched
    assert (searched.calls, searched.incomplete) == (SAMPLE, (DECRYPTS,))
    assert "needs about 300 calls, 150 seconds, more than its cap of 100" in searched.why_incomplete
    for other in ("--source trail", "s3://", "--source athena:", "lookup_calls"):
        assert other in searched.why_incomplete


def test_the_cap_met_on_the_last_page_leaves_nothing_out(stub: Stubber) -> None:
    answer(stub, asked(DECRYPTS), event(record("1")))
    assert source(stub, max_calls=1).search([DECRYPTS]).searched.complete


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (event("{", "e-1"), "not JSON"),
        (event(record("e-1", eventVersion="2.0"), "e-1"), "unknown major version"),
        (event({"eventID": "e-1"}, "e-1"), "is missing"),
        ({"EventId": "e-1"}, "holds no record"),
        ({"CloudTrailEvent": "[]"}, "not a list"),
    ],
)
def test_a_record_that_cannot_be_read_is_reported_and_its_span_incomplete(
    stub: Stubber, bad: dict[str, Any], reason: str
) -> None:
    answer(stub, asked(DECRYPTS), event(record("1")), bad, event(record("2")))
    found = source(stub).search([DECRYPTS])
    assert ids(found) == ["1", "2"]
    (malformed,) = found.searched.malformed
    assert reason in malformed.reason
    assert f"LookupEvents, event {bad.get('EventId', 'without id')}" in malformed.place
    assert found.searched.incomplete == (DECRYPTS,)
    assert "could not be read" in found.searched.why_incomplete


def test_further_back_than_event_history_reaches_nothing_is_asked_and_it_is_said(
    stub: Stubber,
) -> None:
    gone = Span("EventName", "Decrypt", NOW - REACH - 9 * MINUTE, NOW - REACH - MINUTE)
    cut = replace(gone, until=NOW - REACH + MINUTE)
    answer(stub, asked(cut, StartTime=NOW - REACH))
    searched = source(stub).search([gone, cut]).searched
    assert searched.calls == 1
    assert searched.incomplete == (gone, cut)
    assert "reaches back to 2025-11-02T09:00:00+00:00 only" in searched.why_incomplete


def test_a_span_ends_with_the_whole_second_after_it(stub: Stubber) -> None:
    until = NOW - timedelta(seconds=9.5)
    answer(stub, asked(DECRYPTS, EndTime=NOW - timedelta(seconds=9)))
    source(stub).search([replace(DECRYPTS, until=until)])


def test_a_time_of_another_zone_is_asked_for_in_utc(stub: Stubber) -> None:
    zone = datetime.fromisoformat("2026-01-31T10:00:00+01:00").tzinfo
    there = replace(DECRYPTS, since=DECRYPTS.since.astimezone(zone), until=NOW.astimezone(zone))
    answer(stub, asked(DECRYPTS))
    source(stub).search([there])


def test_every_record_cannot_be_asked_for(stub: Stubber) -> None:
    with pytest.raises(ValueError, match="one event name or event source at a time"):
        source(stub).search([replace(DECRYPTS, value=None)])


@pytest.mark.parametrize("code", ["ThrottlingException", "AccessDeniedException"])
def test_a_refusal_is_the_run_s_error(stub: Stubber, code: str) -> None:
    stub.add_client_error("lookup_events", code, "No.", 400)
    with pytest.raises(AwsRefused, match=f"AWS refused LookupEvents: {code}: No") as caught:
        source(stub).search([DECRYPTS])
    assert caught.value.code == code


@pytest.mark.parametrize(
    ("event_source", "region", "recorded"),
    [
        ("iam.amazonaws.com", "us-west-2", "us-east-1"),
        ("iam.amazonaws.com", "us-east-1", "us-east-1"),
        ("iam.amazonaws.com", "cn-northwest-1", "cn-north-1"),
        ("iam.amazonaws.com", "us-gov-east-1", "us-gov-west-1"),
        ("sts.amazonaws.com", "us-west-2", "us-west-2"),
        ("kms.amazonaws.com", "us-west-2", "us-west-2"),
        ("imagebuilder.amazonaws.com", "eu-central-1", "eu-central-1"),
    ],
)
def test_iam_is_recorded_in_the_partition_s_region_all_else_where_it_is_asked(
    event_source: str, region: str, recorded: str
) -> None:
    assert recorded_in(event_source, region) == recorded


def test_a_service_that_is_recorded_elsewhere_is_not_asked_for(stub: Stubber) -> None:
    iam = Span("EventSource", "iam.amazonaws.com", DECRYPTS.since, NOW)
    searched = source(stub).search([iam]).searched
    assert (searched.calls, searched.incomplete) == (0, (iam,))
    assert "iam.amazonaws.com are recorded in us-east-1, not in us-west-2" in (
        searched.why_incomplete
    )


def test_where_iam_is_recorded_in_an_unknown_partition_is_not_guessed() -> None:
    with pytest.raises(RunbookError, match="eusc-de-east-1 is not known"):
        recorded_in("iam.amazonaws.com", "eusc-de-east-1")


# Against the sandbox


@pytest.mark.e2e
def test_what_was_called_is_found_page_by_page_without_a_throttled_call(
    clients: Clients, tmp_path: Path
) -> None:
    assert clients.identity.account == ACCOUNT
    began = clients.now()
    kms = clients("kms")
    for _ in range(PAGE + 3):
        kms.list_aliases()
    statuses: list[int] = []
    client = clients("cloudtrail")
    client.meta.events.register(
        "response-received.cloudtrail",
        lambda response_dict, **_: statuses.append(response_dict["status_code"]),
    )
    held = FileLimiter(tmp_path / "calls.json")
    lookup = LookupSource(client, ACCOUNT, REGION, held, clock=clients.now)
    span = Span("EventName", "ListAliases", began - MINUTE, clients.now() + MINUTE)
    other = replace(span, value="GetCallerIdentity")
    found = lookup.search([span, other])
    names = [one.name for one in found.records]
    assert names.count("ListAliases") == PAGE + 3
    assert names.count("GetCallerIdentity") >= 1
    assert found.searched.complete
    assert found.searched.calls == 3
    assert statuses == [200, 200, 200]


class Throttling(BaseHTTPRequestHandler):
    """A CloudTrail that throttles its first call."""

    def do_POST(self) -> None:
        status, body = self.server.answers.pop(0)  # type: ignore[attr-defined]
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(status)
        self.end_headers()
        self.wfile.write(json.dumps(body).encode())

    def log_message(self, *_: object) -> None:
        """Tests print nothing."""


def test_the_sdk_s_own_retries_pass_the_limiter_too() -> None:
    with HTTPServer(("127.0.0.1", 0), Throttling) as server:
        server.answers = [  # type: ignore[attr-defined]
            (400, {"__type": "ThrottlingException"}),
            (200, {"Events": []}),
        ]
        threading.Thread(target=server.serve_forever, daemon=True).start()
        limiter = Counted()
        client = client_at(f"http://127.0.0.1:{server.server_port}", attempts=2)
        lookup = LookupSource(client, ACCOUNT, REGION, limiter, clock=lambda: NOW)
        found = lookup.search([DECRYPTS])
        server.shutdown()
    assert found.searched.calls == 1
    assert limiter.calls == 2


@pytest.mark.e2e
def test_a_second_source_of_one_client_does_not_wait_twice(clients: Clients) -> None:
    client, first, second = clients("cloudtrail"), Counted(), Counted()
    span = Span("EventName", "Decrypt", clients.now() - MINUTE, clients.now())
    LookupSource(client, ACCOUNT, REGION, first)
    LookupSource(client, ACCOUNT, REGION, second, clock=clients.now).search([span])
    assert first.calls == 0
    assert second.calls >= 1


def client_at(endpoint_url: str, attempts: int) -> Any:
    return boto3.client(
        "cloudtrail",
        region_name=REGION,
        endpoint_url=endpoint_url,
        aws_access_key_id="x",
        aws_secret_access_key="y",
        config=Config(retries={"mode": "standard", "total_max_attempts": attempts}),
    )


def test_an_endpoint_that_does_not_answer() -> None:
    client = client_at("http://127.0.0.1:1", attempts=1)
    lookup = LookupSource(client, ACCOUNT, REGION, Counted(), clock=lambda: NOW)
    with pytest.raises(Unreachable, match=r"127\.0\.0\.1:1"):
        lookup.search([DECRYPTS])


@pytest.mark.e2e
@pytest.mark.parametrize(
    ("service", "call"), [("iam", "ListAccountAliases"), ("sts", "GetCallerIdentity")]
)
def test_an_event_is_where_it_is_looked_for_and_not_elsewhere(
    clients: Clients, tmp_path: Path, service: str, call: str
) -> None:
    since = clients.now() - MINUTE
    clients("iam").list_account_aliases()
    clients("sts").get_caller_identity()
    home = history_of(clients, 240, f"{service}.amazonaws.com")
    span = Span("EventName", call, since, clients.now() + MINUTE)
    seen = {one.region for one in home.search([span]).records}
    assert seen == {recorded_in(f"{service}.amazonaws.com", REGION)}
    assert home.name.endswith(f"in {seen.pop()} (embedded sandbox, not AWS)")
    for region in {REGION, "us-east-1"} - {recorded_in(f"{service}.amazonaws.com", REGION)}:
        held = FileLimiter(tmp_path / f"{region}.json")
        client = clients("cloudtrail", region)
        elsewhere = LookupSource(client, ACCOUNT, region, held, clock=clients.now)
        assert elsewhere.search([span]).records == ()
