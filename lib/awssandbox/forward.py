"""How one service of the sandbox calls another: a genuine AWS client, answered in this process.

The client serialises and parses as it does on the wire, so what reaches KMS is what the Encryption
SDK sends; only the socket and the signature are left out. So a call cannot deadlock on the
server's own threads, and the caller is the one that the service forwards.
"""

from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from botocore import UNSIGNED
from botocore.awsrequest import AWSResponse
from botocore.config import Config

from awssandbox.errors import AwsError
from awssandbox.protocol import HttpRequest
from awssandbox.services import botocore_session

if TYPE_CHECKING:
    from awssandbox.call import Caller
    from awssandbox.world import World

_CONFIG = Config(
    signature_version=UNSIGNED,
    retries={"total_max_attempts": 1, "mode": "standard"},
    ignore_configured_endpoint_urls=True,
    proxies={},
    s3={"addressing_style": "path"},
)


class ServiceAccess:
    """Clients by which a service calls other services as `caller` in `region`.

    `last_error` is what the last refused call was refused with.
    """

    def __init__(self, world: World, caller: Caller, region: str) -> None:
        self._world = world
        self._caller = caller
        self._region = region
        self.last_error: AwsError | None = None

    def client(self, service: str) -> Any:
        """A botocore client of `service`, whose requests never leave the process."""
        client = botocore_session().create_client(
            service,
            region_name=self._region,
            endpoint_url=f"https://{service}.{self._region}.amazonaws.com",
            config=_CONFIG,
        )

        def send(request: Any, **_: Any) -> AWSResponse:
            return self._answer(service, request)

        client.meta.events.register(f"before-send.{service}", send)
        return client

    def _answer(self, service: str, request: Any) -> AWSResponse:
        from awssandbox.pipeline import served

        body = request.body or b""
        parts = urlsplit(request.url)
        answer = served(
            self._world,
            service,
            HttpRequest(
                request.method,
                parts.path or "/",
                parts.query,
                {name.lower(): _text(value) for name, value in request.headers.items()},
                _bytes(body),
            ),
            self._caller,
            self._region,
        )
        self.last_error = answer.error
        response = AWSResponse(
            request.url, answer.status, dict(answer.headers), BytesIO(answer.body)
        )
        response._content = answer.body
        return response


def _bytes(body: Any) -> bytes:
    if hasattr(body, "read"):  # of S3: a stream in chunks
        return bytes(body.read())
    return body.encode() if isinstance(body, str) else bytes(body)


def _text(value: str | bytes) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else value
