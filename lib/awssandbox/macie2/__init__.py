"""Amazon Macie: on or off. Every other operation is refused."""

from awssandbox.macie2.operations import OPERATIONS

__all__ = ["OPERATIONS"]
