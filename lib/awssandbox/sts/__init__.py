"""STS in the sandbox: who calls, and sessions of roles.

Left out, and so refused: federation, web identities and SAML, AssumeRoot.
"""

from __future__ import annotations

from awssandbox.sts.operations import OPERATIONS

__all__ = ["OPERATIONS"]
