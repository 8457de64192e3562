"""IAM in the sandbox: its rules and its permissions are ours, its store is moto's (`moto_iam`).

MFA devices are ours too (`mfa`). Left out, and so refused: passwords, certificates, SSH keys,
identity providers, service-linked roles, renaming, account settings, reports and simulation.
"""

from __future__ import annotations

from awssandbox.iam.operations import OPERATIONS

__all__ = ["OPERATIONS"]
