"""moto's stores: one a service, global to the process, lent to one sandbox at a time.

Requests reach moto's own WSGI application re-written from their checked parameters, so nothing of
a client's request but its parameters gets there. While a sandbox works with a store, under a lock,
the store holds that sandbox's accounts and no others.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from io import BytesIO
from typing import Any, Literal
from urllib.parse import unquote_to_bytes, urlsplit

from botocore.awsrequest import create_request_object, prepare_request_dict
from botocore.parsers import create_parser
from botocore.serialize import create_serializer
from moto.moto_server.werkzeug_app import create_backend_app

from awssandbox.errors import AwsError
from awssandbox.services import model

for _name in [name for name in os.environ if name.startswith("MOTO_")]:
    del os.environ[_name]  # they would choose moto's account, policies and regions

Service = Literal["cloudtrail", "iam", "s3"]

_lock = threading.RLock()
"""One for all stores, since moto's services look into each other's."""


_stores: list[Store] = []
"""Those that were made."""


def write_back() -> None:
    """Have each sandbox hold what it has in moto's stores, as it is now."""
    with _lock:
        for store in _stores:
            store.write_back()


class Kept:
    """What one sandbox has in a store, while another sandbox works with it."""

    def __init__(self) -> None:
        self.parts: tuple[dict[Any, Any], ...] = ()


class Store:
    """moto's store of one service: `parts` are the mappings that it consists of.

    `host` is where requests are taken to go, with ``{region}`` for the Region.
    """

    def __init__(
        self, service: Service, host: str, first: MutableMapping[Any, Any], *more: Any
    ) -> None:
        self._service: str = service
        self._host = host
        self._parts: tuple[MutableMapping[Any, Any], ...] = (first, *more)
        self._app = create_backend_app(service)
        self._holder: Kept | None = None
        _stores.append(self)
        for part in self._parts:
            part.clear()  # making the application made an account

    @contextmanager
    def lent(self, kept: Kept) -> Iterator[None]:
        """The store with what `kept` has; what it held before is kept with its owner."""
        with _lock:
            if self._holder is not kept:
                self.write_back()
                for number, part in enumerate(self._parts):
                    part.clear()
                    part.update(kept.parts[number] if kept.parts else {})
                self._holder = kept
            yield

    def write_back(self) -> None:
        """Have who works with the store hold what is in it."""
        if self._holder is not None:
            self._holder.parts = tuple(dict(part) for part in self._parts)

    def call(
        self, account: str, region: str, operation: str, parameters: Mapping[str, Any]
    ) -> dict[str, Any]:
        """What moto answers to an operation, named as in the model; the store must be lent.

        Raises AwsError with moto's code, text and status.
        """
        operation_model = model(self._service).operation_model(operation)
        protocol = operation_model.service_model.metadata["protocol"]
        made = create_serializer(protocol).serialize_to_request(dict(parameters), operation_model)
        prepare_request_dict(made, endpoint_url=f"https://{self._host.format(region=region)}")
        request = create_request_object(made).prepare()
        sent = request.body or b""
        sent = sent.encode() if isinstance(sent, str) else sent
        parts = urlsplit(request.url)
        scope = f"sandbox/20260101/{region}/{self._service}/aws4_request"
        environ = {
            **_headers(request.headers),
            # moto verifies no signature, but takes requests without one for anonymous.
            "HTTP_AUTHORIZATION": f"AWS4-HMAC-SHA256 Credential={scope}",
            "REQUEST_METHOD": request.method,
            "SCRIPT_NAME": "",
            "PATH_INFO": _wsgi_path(parts.path),
            "RAW_URI": request.url.removeprefix(f"https://{parts.netloc}"),
            "QUERY_STRING": parts.query,
            "SERVER_NAME": parts.netloc,
            "SERVER_PORT": "443",
            "SERVER_PROTOCOL": "HTTP/1.1",
            "CONTENT_LENGTH": str(len(sent)),
            "HTTP_HOST": parts.netloc,
            "HTTP_X_MOTO_ACCOUNT_ID": account,
            "wsgi.version": (1, 0),
            "wsgi.url_scheme": "https",
            "wsgi.input": BytesIO(sent),
            "wsgi.errors": BytesIO(),
            "wsgi.multithread": True,
            "wsgi.multiprocess": False,
            "wsgi.run_once": False,
        }
        started: list[tuple[int, dict[str, str]]] = []

        def start_response(status: str, headers: list[tuple[str, str]], *_: object) -> Any:
            names = {name.lower(): value for name, value in headers}
            started.append((int(status.split()[0]), names))

        content = b"".join(self._app(environ, start_response))
        status, headers = started[0]
        stream = status < 300 and operation_model.has_streaming_output
        body = BytesIO(content) if stream else content
        response = {"status_code": status, "headers": _Headers(headers), "body": body}
        parsed: dict[str, Any] = create_parser(protocol).parse(
            response, operation_model.output_shape
        )
        parsed.pop("ResponseMetadata", None)
        if status >= 300:
            error = parsed["Error"]
            raise AwsError(error["Code"], error["Message"], status)
        return parsed


class _Headers(dict[str, str]):
    """Headers that are looked up in any letter case, as the parsers do."""

    def __getitem__(self, name: str) -> str:
        return super().__getitem__(name.lower())

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and super().__contains__(name.lower())

    def get(self, name: str, default: Any = None) -> Any:
        return super().get(name.lower(), default)


def _headers(headers: Mapping[str, Any]) -> dict[str, str]:
    environ = {}
    for name, value in headers.items():
        text = value.decode("latin-1") if isinstance(value, bytes) else str(value)
        key = name.upper().replace("-", "_")
        environ[key if key == "CONTENT_TYPE" else f"HTTP_{key}"] = text
    environ.pop("HTTP_CONTENT_LENGTH", None)
    environ.pop("HTTP_TRANSFER_ENCODING", None)
    return environ


def _wsgi_path(path: str) -> str:
    """A percent-encoded path as WSGI has it: the bytes of the decoded one, read as Latin-1.

    Source: https://peps.python.org/pep-3333/#unicode-issues
    """
    return unquote_to_bytes(path).decode("latin-1")
