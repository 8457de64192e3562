"""IAM Identity Center, as far as its instances go. Every other operation is refused."""

from awssandbox.sso_admin.operations import OPERATIONS

__all__ = ["OPERATIONS"]
