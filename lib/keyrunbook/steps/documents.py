"""The workflow document of a run: a file below ``notebooks/``, or an object in S3.

An object is read as the operator, so that what is planned is what was read; Image Builder reads it
again, as its caller, when the workflow is made. It cannot be told which version to read: that the
object has not changed meanwhile is seen when the workflow is read back.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from botocore.exceptions import BotoCoreError, ClientError

from keyrunbook.aws.refusals import code_of, explain
from keyrunbook.errors import ParameterError
from keyrunbook.parameters import workflow_document, workflow_object

if TYPE_CHECKING:
    from keyrunbook.session import Run

LARGEST: Final = 64 * 1024
"""Bytes of a workflow document in S3.

Source: https://docs.aws.amazon.com/general/latest/gr/imagebuilder.html
"""


@dataclass(frozen=True, slots=True)
class Document:
    """A document's text and, of one in S3, its `uri` and which object was `read`."""

    text: str
    uri: str | None = None
    read: Mapping[str, str] = field(default_factory=dict)


def document(run: Run) -> Document:
    """The document that the run's parameters name.

    Raises ParameterError where it is not there, is no workflow document or looks confidential;
    AwsRefused (or Unreachable, CredentialsMissing) where S3 does not give it.
    """
    uri = run.parameters.workflow_uri
    if uri is None:
        return Document(workflow_document(run.parameters))
    return _from_s3(run, uri)


def bucket_and_key(uri: str) -> tuple[str, str]:
    """The bucket and the key of ``s3://bucket/key``."""
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    return bucket, key


def _from_s3(run: Run, uri: str) -> Document:
    bucket, key = bucket_and_key(uri)
    try:
        answer = run.clients("s3").get_object(Bucket=bucket, Key=key)
        body: bytes = answer["Body"].read(LARGEST + 1)
    except ClientError as error:
        if code_of(error) in ("NoSuchKey", "NoSuchBucket"):
            raise ParameterError(
                f"workflow_uri = {uri!r} could not be read: {code_of(error)}.",
                "Put the document there, or give the URI of one that is there.",
            ) from error
        raise explain(error) from error
    except BotoCoreError as error:
        raise explain(error) from error
    if len(body) > LARGEST:
        raise ParameterError(
            f"workflow_uri = {uri!r} has more than {LARGEST:,} bytes.",
            "Image Builder takes workflow documents of at most 64 KB: give a shorter one.",
        )
    read = _which(body, answer)
    elsewhere = run.clients.foreign("s3") if run.clients.is_aws else None
    if elsewhere is not None:  # said wherever the object is: an AWS run's S3 is not AWS's
        read["endpoint, not AWS's"] = elsewhere
    return Document(workflow_object(run.parameters, body), uri, read)


def _which(body: bytes, answer: Mapping[str, Any]) -> dict[str, str]:
    read = {"sha256": hashlib.sha256(body).hexdigest(), "etag": str(answer["ETag"]).strip('"')}
    version = answer.get("VersionId")  # only where the bucket keeps versions
    return read if version is None else {**read, "version_id": str(version)}
