"""The sandbox's HTTP server: a WSGI application of ours under cheroot, on this machine only."""

from __future__ import annotations

import ipaddress
import ssl
import time
from collections.abc import Callable, Iterable
from email.utils import format_datetime
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from cheroot import wsgi
from cheroot.ssl.builtin import BuiltinSSLAdapter

from awssandbox.authenticate import Connection
from awssandbox.errors import AwsError
from awssandbox.pipeline import respond
from awssandbox.protocol import HttpRequest, error

if TYPE_CHECKING:
    from awssandbox.world import World

LARGEST_BODY: Final = 2 * 1024 * 1024
"""Bytes. The largest request that is served, CreateWorkflow, has 16,000 characters of document."""
THREADS: Final = 8

StartResponse = Callable[[str, list[tuple[str, str]]], Any]


class Application:
    """The WSGI application. `last_used` is when the last request came, in monotonic seconds."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.last_used = time.monotonic()

    def __call__(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        self.last_used = time.monotonic()
        connection = Connection(
            environ.get("REMOTE_ADDR", ""), environ.get("wsgi.url_scheme") == "https"
        )
        try:
            request = _request(environ)
        except AwsError as refusal:
            to_s3 = "/s3/aws4_request" in environ.get("HTTP_AUTHORIZATION", "")
            answer = error("rest-xml" if to_s3 else "rest-json", refusal, "")
        else:
            answer = respond(self._world, request, connection)
        headers = {
            "Content-Length": str(len(answer.body)),  # of S3's HEAD: the object's, in the answer
            **answer.headers,
            "Date": format_datetime(self._world.clock.now(), usegmt=True),
        }
        status = HTTPStatus(answer.status)
        start_response(f"{status.value} {status.phrase}", list(headers.items()))
        bare = environ["REQUEST_METHOD"] == "HEAD" or status is HTTPStatus.NOT_MODIFIED
        return [b"" if bare else answer.body]


def _request(environ: dict[str, Any]) -> HttpRequest:
    path, _, query = environ["REQUEST_URI"].partition("?")
    body = _body(environ)
    headers = {
        name.removeprefix("HTTP_").replace("_", "-").lower(): value
        for name, value in environ.items()
        if name.startswith("HTTP_")
    }
    headers["content-type"] = environ.get("CONTENT_TYPE", "")
    headers["content-length"] = str(len(body))
    return HttpRequest(environ["REQUEST_METHOD"], path or "/", query, headers, body)


def _body(environ: dict[str, Any]) -> bytes:
    length = environ.get("CONTENT_LENGTH") or "0"
    chunked = environ.get("HTTP_TRANSFER_ENCODING", "").lower() == "chunked"
    if not length.isdigit() or int(length) > LARGEST_BODY:
        raise _too_large()
    if not chunked:
        return bytes(environ["wsgi.input"].read(int(length))) if int(length) else b""
    body = bytes(environ["wsgi.input"].read(LARGEST_BODY + 1))
    if len(body) > LARGEST_BODY:
        raise _too_large()
    return body


def _too_large() -> AwsError:
    return AwsError(
        "RequestEntityTooLarge", f"A request has at most {LARGEST_BODY} bytes here.", 413
    )


class Server(wsgi.Server):
    """cheroot's server with our application, listening and not yet serving.

    `url` is where it is reached. Raises OSError when `host` and `port` cannot be bound, ValueError
    for a host that others than this machine can reach.
    """

    def __init__(
        self, application: Application, host: str, port: int, tls: ssl.SSLContext | None = None
    ) -> None:
        super().__init__(
            (loopback(host), port), application, numthreads=THREADS, server_name="awssandbox"
        )
        # A client keeps its connection between calls, so that not each one costs a hand-shake. A
        # run has more clients than the ten whose connections cheroot keeps by default.
        self.timeout, self.keep_alive_conn_limit = 60, 512
        # Seconds between two looks at idle connections, and at whether it is to end.
        self.expiration_interval = 0.1
        self.nodelay = True
        if tls is not None:
            self.ssl_adapter = _Tls(tls)
        self.prepare()
        shown = f"[{host}]" if ":" in host else host
        self.url = f"{'https' if tls else 'http'}://{shown}:{self.bind_addr[1]}"


class _Tls(BuiltinSSLAdapter):
    """cheroot's TLS with a context that is made already."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self.context = context
        self._context = context
        self.certificate = self.private_key = self.certificate_chain = ""
        self.private_key_password = None
        self._server_env = {"HTTPS": "on"}

    def get_environ(self, sock: ssl.SSLSocket) -> dict[str, Any]:  # type: ignore[override]
        cipher = sock.cipher()
        return {
            "wsgi.url_scheme": "https",
            "HTTPS": "on",
            "SSL_PROTOCOL": cipher[1] if cipher else "",
            "SSL_CIPHER": cipher[0] if cipher else "",
        }


def loopback(host: str) -> str:
    """`host`, which must be this machine's own address. Raises ValueError for any other."""
    if host == "localhost":
        return host
    if not ipaddress.ip_address(host).is_loopback:
        raise ValueError(f"{host} can be reached from outside this machine")
    return host


def tls_context(host: str, folder: Path) -> tuple[ssl.SSLContext, Path]:
    """A server's TLS context of a new authority, and that authority's certificate, in `folder`.

    TLS 1.2 at least, as AWS requires.
    Source: https://docs.aws.amazon.com/imagebuilder/latest/userguide/data-protection.html
    """
    import trustme

    authority = trustme.CA(organization_name="awssandbox")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    authority.issue_cert("localhost", "127.0.0.1", "::1", host).configure_cert(context)
    bundle = folder / "ca.pem"
    authority.cert_pem.write_to_path(str(bundle))
    return context, bundle
