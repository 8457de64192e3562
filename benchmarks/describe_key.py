"""KMS DescribeKey: the sandbox's calls a second against those of moto's own server.

    python benchmarks/describe_key.py [--rounds N] [--calls N]              (make bench)

Both are processes of their own and are asked by the same client with the same requests: signed by
a user who may describe the key by its IAM policy and the key's default policy. moto's server is
``moto.server.ThreadedMotoServer`` without its log. It closes each connection after one answer; so
there is, for orientation, its application under cheroot too, the sandbox's HTTP server, which keeps
them. So is the floor: cheroot with an application that answers the same whatever it is asked.

- raw: the same signed bytes again and again, on one connection, the answer's status looked at
- four: the same on four connections, a request on each before the first answer is read
- boto3: boto3's client

The rounds go in turn from server to server. It prints the calls a second of each, the median of
the rounds; the ratio is the median of the rounds' own ratios, with the lowest and the highest. The
calls a second are this machine's, the ratios are what is aimed at: in raw the sandbox's calls a
second at least 1.3 times moto's.

It ends with status 1 unless the sandbox checked and recorded what it is said to: it must refuse a
wrong signature and a user without a policy, and LookupEvents must have one record for each call
that was counted. moto's server checks and records nothing of that, and is asked the same.
"""

from __future__ import annotations

import argparse
import json
import logging
import signal
import socket
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import boto3
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials
from keyrunbook import sandboxes

AIMS = {"sandbox / moto": "at least 1.3"}
REGION = "us-west-2"
WAYS = ("raw", "four", "boto3")
OPERATOR, STRANGER = "operator", "stranger"


# The servers -------------------------------------------------------------------------------------


@dataclass
class Server:
    """One server under measurement: the key it is asked about, and by whom."""

    url: str
    operator: Credentials
    stranger: Credentials
    key_id: str
    sent: bytes = b""
    answered: int = 0
    rates: dict[str, list[float]] = field(default_factory=lambda: {way: [] for way in WAYS})


def client(url: str, service: str, credentials: Credentials) -> Any:
    """boto3's client, which sends each call once (look-ups wait when they are throttled)."""
    retries = {"mode": "standard", "total_max_attempts": 20 if service == "cloudtrail" else 1}
    return boto3.client(
        service,
        endpoint_url=url,
        region_name=REGION,
        aws_access_key_id=credentials.access_key,
        aws_secret_access_key=credentials.secret_key,
        config=Config(retries=retries),
    )


def prepared(url: str, administrator: Credentials) -> Server:
    """A key, and two users: one who may describe it and one who may do nothing."""
    key = client(url, "kms", administrator).create_key()["KeyMetadata"]
    iam = client(url, "iam", administrator)
    users = {}
    for name in (OPERATOR, STRANGER):
        iam.create_user(UserName=name)
        made = iam.create_access_key(UserName=name)["AccessKey"]
        users[name] = Credentials(made["AccessKeyId"], made["SecretAccessKey"])
    allow = {"Effect": "Allow", "Action": ["kms:Describe*", "kms:List*"], "Resource": key["Arn"]}
    look = {"Effect": "Allow", "Action": "cloudtrail:LookupEvents", "Resource": "*"}
    document = {"Version": "2012-10-17", "Statement": [allow, look]}
    iam.put_user_policy(
        UserName=OPERATOR, PolicyName="DescribeOneKey", PolicyDocument=json.dumps(document)
    )
    return Server(url, users[OPERATOR], users[STRANGER], key["KeyId"])


@contextmanager
def sandbox() -> Iterator[Server]:
    """The sandbox, as a run starts it."""
    with sandboxes.start_private() as process:
        there = process.ready()
        administrator = Credentials(there.access_key_id, there.secret_access_key)
        yield prepared(there.endpoint_url, administrator)


@contextmanager
def other(name: str) -> Iterator[str]:
    """A server of `SERVED` in a process of its own; gives its URL."""
    words = [sys.executable, __file__, "--serve", name]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.terminate()


@contextmanager
def moto(name: str) -> Iterator[Server]:
    """A server with moto's application."""
    with other(name) as url:
        yield prepared(url, Credentials("benchmark", "benchmark"))


@contextmanager
def floor(like: Server) -> Iterator[Server]:
    """The floor; it is asked what `like` is asked."""
    with other("floor") as url:
        yield Server(url, like.operator, like.stranger, like.key_id)


def serve_moto() -> str:
    """Start moto's server in this process; gives its URL."""
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    return f"http://{host}:{port}"


def serve_moto_under_cheroot() -> str:
    """Start moto's application under cheroot in this process; gives its URL."""
    from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app

    return _under_cheroot(DomainDispatcherApplication(create_backend_app))


def serve_floor() -> str:
    """Start the floor in this process; gives its URL."""
    body = json.dumps({"KeyMetadata": {"KeyId": "floor", "Description": "x" * 500}}).encode()
    headers = [("Content-Type", "application/json"), ("Content-Length", str(len(body)))]

    def application(environ: Mapping[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))
        start_response("200 OK", headers)
        return [body]

    return _under_cheroot(application)


def _under_cheroot(application: Any) -> str:
    from cheroot import wsgi

    server = wsgi.Server(("127.0.0.1", 0), application, numthreads=8)
    server.nodelay = True
    server.prepare()
    threading.Thread(target=server.serve, daemon=True).start()
    return f"http://127.0.0.1:{server.bind_addr[1]}"


SERVED: Mapping[str, Callable[[], str]] = {
    "moto": serve_moto,
    "moto/cheroot": serve_moto_under_cheroot,
    "floor": serve_floor,
}


# The client --------------------------------------------------------------------------------------


def signed(server: Server, credentials: Credentials) -> bytes:
    """A DescribeKey request as it goes over the wire, signed now."""
    body = json.dumps({"KeyId": server.key_id}).encode()
    headers = {
        "Host": urlsplit(server.url).netloc,
        "Content-Type": "application/x-amz-json-1.1",
        "X-Amz-Target": "TrentService.DescribeKey",
    }
    request = AWSRequest("POST", f"{server.url}/", headers, body)
    SigV4Auth(credentials, "kms", REGION).add_auth(request)
    lines = [f"{name}: {value}" for name, value in request.headers.items()]
    head = "\r\n".join(["POST / HTTP/1.1", *lines, f"Content-Length: {len(body)}", "", ""])
    return head.encode() + body


class Connection:
    """A connection to a server, made again where the server closed it."""

    def __init__(self, server: Server) -> None:
        place = urlsplit(server.url)
        self._place = (place.hostname, place.port)
        self._socket: socket.socket | None = None

    def send(self, request: bytes) -> None:
        """Send a request, at once."""
        if self._socket is None:
            self._socket = socket.create_connection(self._place, timeout=60)
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket.sendall(request)

    def receive(self) -> tuple[int, bytes]:
        """Status and body of the answer."""
        got = b""
        while (end := got.find(b"\r\n\r\n")) < 0:
            got += self._more()
        head = got[:end].lower()
        length = int(head.partition(b"content-length:")[2].partition(b"\r\n")[0])
        while len(got) < end + 4 + length:
            got += self._more()
        if b"connection: close" in head:
            self.close()
        return int(head[9:12]), got[end + 4 :]

    def _more(self) -> bytes:
        assert self._socket is not None
        got = self._socket.recv(65536)
        if not got:
            raise SystemExit("a server closed a connection without an answer")
        return got

    def close(self) -> None:
        """Close it; the next request opens it again."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None


def raw(server: Server, calls: int, connections: int = 1) -> None:
    """`calls` requests, one under way on each connection."""
    every = [Connection(server) for _ in range(connections)]
    for _ in range(calls // connections):
        for each in every:
            each.send(server.sent)
        for each in every:
            status, body = each.receive()
            if status != 200:
                raise SystemExit(f"DescribeKey was answered {status}: {body.decode()}")
    for each in every:
        each.close()


def rate(server: Server, way: str, calls: int) -> float:
    """Calls a second."""
    if way == "boto3":
        kms = client(server.url, "kms", server.operator)
        began = time.perf_counter()
        for _ in range(calls):
            kms.describe_key(KeyId=server.key_id)
    else:
        server.sent = signed(server, server.operator)  # a signature is good for minutes only
        connections = 4 if way == "four" else 1
        calls -= calls % connections
        began = time.perf_counter()
        raw(server, calls, connections)
    elapsed = time.perf_counter() - began
    server.answered += calls
    return calls / elapsed


# What is claimed ---------------------------------------------------------------------------------


def refusals(server: Server) -> None:
    """Hold that a wrong signature and a user without a policy are refused.

    Raises SystemExit where one is not.
    """
    wrong = Credentials(server.operator.access_key, "wrong")
    for credentials, code in (
        (wrong, "InvalidSignatureException"),
        (server.stranger, "AccessDeniedException"),
    ):
        asked = Connection(server)
        asked.send(signed(server, credentials))
        status, body = asked.receive()
        asked.close()
        if status != 400 or json.loads(body).get("__type") != code:
            raise SystemExit(f"expected {code}, and was answered {status}: {body.decode()}")


def records(server: Server) -> int:
    """How many different records of the operator's DescribeKey the sandbox's LookupEvents has.

    AWS answers two look-ups a second, and so does the sandbox: this takes its time.
    """
    pages = client(server.url, "cloudtrail", server.operator).get_paginator("lookup_events")
    wanted = [{"AttributeKey": "EventName", "AttributeValue": "DescribeKey"}]
    found = set()
    for page in pages.paginate(LookupAttributes=wanted):
        for event in page["Events"]:
            record = json.loads(event["CloudTrailEvent"])
            if event.get("Username") == OPERATOR and "errorCode" not in record:
                found.add(record["requestID"])
    return len(found)


# The command -------------------------------------------------------------------------------------


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> str:
    """The median of the rounds' ratios, with the lowest and the highest."""
    each = [a / b for a, b in zip(ours, theirs, strict=True)]
    return f"{statistics.median(each):.2f} ({min(each):.2f}–{max(each):.2f})"


def measure(rounds: int, calls: int) -> None:
    """Measure in turn, then hold what is claimed."""
    with ExitStack() as stack:
        ours = stack.enter_context(sandbox())
        servers = {
            "sandbox": ours,
            "moto": stack.enter_context(moto("moto")),
            "moto/cheroot": stack.enter_context(moto("moto/cheroot")),
            "floor": stack.enter_context(floor(ours)),
        }
        for server in servers.values():
            for way in WAYS:
                rate(server, way, calls)  # to be warm
        for _ in range(rounds):
            for way in WAYS:
                for server in servers.values():
                    server.rates[way].append(rate(server, way, calls))
        print(f"{'calls a second':<16}" + "".join(f"{name:>14}" for name in servers))
        for way in WAYS:
            shown = (f"{statistics.median(server.rates[way]):14.0f}" for server in servers.values())
            print(f"{way:<16}{''.join(shown)}", flush=True)
        refusals(ours)
        recorded = records(ours)
        if recorded != ours.answered:
            raise SystemExit(f"{ours.answered} calls were answered, {recorded} recorded")
        for way in WAYS:
            shown = ratio(ours.rates[way], servers["moto"].rates[way])
            aim = f"   (aim: {AIMS['sandbox / moto']})" if way == "raw" else ""
            print(f"sandbox / moto, {way:<8} {shown}{aim}")
        print(
            f"checked: a wrong signature and a user without a policy were refused; of "
            f"{ours.answered} answered calls, warm-up included, {recorded} are recorded"
        )


def parser() -> argparse.ArgumentParser:
    """The command's options."""
    made = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    made.add_argument("--rounds", type=int, default=9)
    made.add_argument("--calls", type=int, default=200, help="of each way, a round and server")
    made.add_argument("--serve", choices=tuple(SERVED), help=argparse.SUPPRESS)
    return made


def main() -> None:
    """Measure; with --serve, be one of the servers until the process is ended."""
    options = parser().parse_args()
    if options.rounds < 1 or options.calls < 4:
        parser().error("--rounds is 1 or more, --calls 4 or more")
    if options.serve is None:
        measure(options.rounds, options.calls)
        return
    print(SERVED[options.serve](), flush=True)
    signal.pause()


if __name__ == "__main__":
    main()
