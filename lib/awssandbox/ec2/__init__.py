"""Amazon EC2, as far as EBS encryption by default goes. Every other operation is refused."""

from awssandbox.ec2.operations import OPERATIONS

__all__ = ["OPERATIONS"]
