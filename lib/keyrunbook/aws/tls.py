"""What TLS the endpoints negotiate, by a handshake of its own with each: measured, not assumed.

The handshake has the settings that the AWS SDK's clients have (botocore's own context), and its
authorities. It goes straight to the endpoint's host: behind a proxy there may be none, and then the
reason says so.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable
from typing import Final
from urllib.parse import urlsplit

from botocore.httpsession import create_urllib3_context, get_cert_path

from keyrunbook.scorecard.facts import Handshake, Known, NotRead

LIMIT_S: Final = 5.0


def handshake(url: str, authorities: str | None, limit_s: float = LIMIT_S) -> Known[Handshake]:
    """The version and cipher that the endpoint at `url` (``https://…``) agrees on.

    `authorities` is a file of certificates in place of the SDK's own, or None.
    """
    parts = urlsplit(url)
    host = parts.hostname or ""
    try:
        context = create_urllib3_context()
        context.load_verify_locations(authorities or get_cert_path(True))
        with (
            socket.create_connection((host, parts.port or 443), timeout=limit_s) as plain,
            context.wrap_socket(plain, server_hostname=host) as secured,
        ):
            cipher = secured.cipher()
            return Handshake(secured.version() or "", cipher[0] if cipher else "")
    except ssl.SSLError as error:
        return NotRead(f"the handshake with {host} failed: {error.reason or error}")
    except OSError as error:  # no such name, nobody there, a time-out, no file of authorities
        return NotRead(f"{host} cannot be reached directly: {error.strerror or error}")


Measure = Callable[[str, str | None], Known[Handshake]]
