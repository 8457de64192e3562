"""Amazon S3: buckets and small objects, with bucket policies."""

from awssandbox.s3.operations import OPERATIONS

__all__ = ["OPERATIONS", "OWN_LIMITS"]

OWN_LIMITS = ("*",)
"""S3 has errors of its own for parameters outside their limits."""
