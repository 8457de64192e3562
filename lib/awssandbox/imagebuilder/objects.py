"""A workflow document that is an object in S3, read as the caller of CreateWorkflow.

UNCONFIRMED: AWS documents that the caller must have permission to access the bucket, and names
s3:GetObject and s3:ListBucket as CreateWorkflow's dependent actions; that Image Builder reads by
forward access session, once, by GetObject, is taken from how it calls KMS. ListBucket then only
decides how an object that is not there is told.
Source: https://docs.aws.amazon.com/imagebuilder/latest/APIReference/API_CreateWorkflow.html and
https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonec2imagebuilder.html
"""

from __future__ import annotations

import re
from typing import Final

from botocore.exceptions import ClientError

from awssandbox.call import Call
from awssandbox.imagebuilder import errors
from awssandbox.imagebuilder.encryption import SERVICE

LARGEST_KB: Final = 64
"""The quota of a workflow's size, in kilobytes, here of 1,024 bytes.

Source: https://docs.aws.amazon.com/general/latest/gr/imagebuilder.html
"""
_URI: Final = re.compile(r"s3://([^/]+)/(.+)", re.DOTALL)


def read(call: Call, uri: str) -> str:
    """The text of the object that `uri` (``s3://bucket/key``) names.

    Raises AwsError: InvalidParameterValueException for what is no such URI or no text in UTF-8,
    ServiceQuotaExceededException for more than 64 KB, what `errors.s3_refused` says where S3
    refuses.
    """
    match = _URI.fullmatch(uri)
    if match is None:
        raise errors.invalid_value("uri", "Specify an S3 URL, such as s3://bucket/key.")
    access = call.forward(SERVICE)
    try:
        body = access.client("s3").get_object(Bucket=match[1], Key=match[2])["Body"].read()
    except ClientError:
        if access.last_error is None:
            raise
        cause = access.last_error
        # What the sandbox itself cannot do stays as it is.
        raise (cause if cause.status >= 500 else errors.s3_refused(uri, cause)) from None
    if len(body) > LARGEST_KB * 1024:
        raise errors.quota_exceeded("kilobytes of a workflow document", LARGEST_KB)
    try:
        return bytes(body).decode()
    except UnicodeDecodeError:
        raise errors.invalid_value("uri", f"'{uri}' is not text in UTF-8.") from None
