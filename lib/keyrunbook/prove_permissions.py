"""The least privilege of `runbook prove`, by the source of its records.

Pure: a source and a place in, an IAM policy document out. Whoever holds it can ask GetWorkflow,
which decrypts the workflow as its caller, and read the records; nothing can be changed with it, but
that Athena leaves the answers of queries in the place that is named.

Not in it, since it is not known from here: kms:Decrypt where the log files, or Athena's answers,
are under a KMS key; what Lake Formation has to grant where it guards the table; kms:DescribeKey,
which tells what an alias names now, and decides nothing.

Sources, for actions, resource types and condition keys:
https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonathena.html
https://docs.aws.amazon.com/service-authorization/latest/reference/list_awsglue.html
https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazons3.html
https://docs.aws.amazon.com/athena/latest/ug/fine-grained-access-to-glue-resources.html
https://docs.aws.amazon.com/athena/latest/ug/security-iam-athena-calledvia.html
https://docs.aws.amazon.com/aws-managed-policy/latest/reference/AmazonAthenaFullAccess.html
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from keyrunbook.errors import ParameterError
from keyrunbook.permissions import Conditions, Where
from keyrunbook.policies import CONTEXT_KEY, VERSION, Document
from keyrunbook.records import IMAGE_BUILDER

ATHENA: Final = "athena.amazonaws.com"
ASKED_BY_AWS_ALONE: Final = frozenset(
    {
        "glue:GetDatabase",
        "s3:GetBucketLocation",
        "s3:ListBucketMultipartUploads",
        "s3:ListMultipartUploadParts",
        "s3:AbortMultipartUpload",
    }
)
"""What AWS documents for Athena, and the sandbox does not ask for."""

_URL = re.compile(r"s3://(?P<bucket>[a-z0-9][a-z0-9.-]+)(?:/(?P<prefix>.*?)/*)?", re.ASCII)
_TABLE = re.compile(r"athena:(?:(?P<database>[A-Za-z0-9_-]+)\.)?(?P<table>[A-Za-z0-9_-]+)")


@dataclass(frozen=True, slots=True)
class Asked:
    """What `runbook prove` will be asked: its `source`, and what narrows it.

    `logs` is where a trail's files are, `answers` where Athena leaves its own: ``s3://…``.
    `key_arn` and `workflow` (a build version's ARN) None stand for any.
    """

    source: str
    logs: str | None = None
    answers: str | None = None
    workgroup: str = "primary"
    key_arn: str | None = None
    workflow: str | None = None

    @property
    def kind(self) -> str:
        """``lookup``, ``trail``, ``s3``, ``athena``, or ``path``."""
        word = self.source.partition(":")[0]
        return word if word in _NEEDS else "path"


def prove_policy(asked: Asked, where: Where) -> Document:
    """The policy under which `runbook prove` can do what is asked, and no more.

    Raises ParameterError where it is not said in which bucket something is.
    """
    statements = [*_workflow(asked, where), *_NEEDS[asked.kind](asked, where)]
    return {"Version": VERSION, "Statement": statements}


def _statement(
    purpose: str,
    actions: str | list[str],
    resources: str | list[str] = "*",
    conditions: Conditions | None = None,
) -> Document:
    statement: Document = {
        "Sid": f"Prove{purpose}",
        "Effect": "Allow",
        "Action": actions,
        "Resource": resources,
    }
    return statement | ({"Condition": dict(conditions)} if conditions else {})


def _workflow(asked: Asked, where: Where) -> Iterator[Document]:
    """GetWorkflow, and the Decrypt that Image Builder makes for its caller."""
    base = f"arn:{where.partition}:imagebuilder:{where.region}:{where.account}:workflow"
    workflow = asked.workflow or f"{base}/*"
    yield _statement("Read", "imagebuilder:GetWorkflow", workflow)
    version = workflow if asked.workflow is None else f"{workflow.rpartition('/')[0]}/*"
    key = asked.key_arn or f"arn:{where.partition}:kms:{where.region}:{where.account}:key/*"
    yield _statement(
        "Open",
        "kms:Decrypt",
        key,
        {
            "StringLike": {CONTEXT_KEY: version},
            "ForAnyValue:StringEquals": {"aws:CalledVia": IMAGE_BUILDER},
        },
    )


def _lookup(asked: Asked, where: Where) -> Iterator[Document]:
    yield _statement("Records", "cloudtrail:LookupEvents")


def _trail(asked: Asked, where: Where) -> Iterator[Document]:
    # A trail of all Regions may be at home in any, an organization's in another account.
    names = ("DescribeTrails", "GetTrailStatus", "GetEventSelectors")
    yield _statement("Trail", [f"cloudtrail:{name}" for name in names])
    yield from _files(asked, where)


def _files(asked: Asked, where: Where) -> Iterator[Document]:
    yield from _listing(asked, where)
    yield _statement("Logs", "s3:GetObject", _objects(asked, where))
    yield from _path(asked, where)


def _path(asked: Asked, where: Where) -> Iterator[Document]:
    yield _statement("Integrity", "cloudtrail:ListPublicKeys")


def _athena(asked: Asked, where: Where) -> Iterator[Document]:
    match = _TABLE.fullmatch(asked.source)
    if match is None:
        raise ParameterError(
            f"{asked.source} is not of the form athena:TABLE or athena:DATABASE.TABLE.",
            "Give the source as `runbook prove` will have it.",
        )
    database, table = (match["database"] or "default").lower(), match["table"].lower()
    at = f"{where.region}:{where.account}"
    athena, glue = f"arn:{where.partition}:athena:{at}", f"arn:{where.partition}:glue:{at}"
    yield next(_trail(asked, where))
    yield _statement("Table", "athena:GetTableMetadata", f"{athena}:datacatalog/AwsDataCatalog")
    query = ("GetWorkGroup", "StartQueryExecution", "GetQueryExecution", "GetQueryResults")
    yield _statement(
        "Query",
        [f"athena:{name}" for name in (*query, "StopQueryExecution")],
        f"{athena}:workgroup/{asked.workgroup}",
    )
    databases = [f"{glue}:database/{name}" for name in dict.fromkeys(("default", database))]
    yield _statement("Databases", "glue:GetDatabase", [f"{glue}:catalog", *databases])
    tables = [f"{glue}:catalog", f"{glue}:database/{database}", f"{glue}:table/{database}/{table}"]
    yield _statement("Catalog", "glue:GetTable", tables)
    yield from _listing(asked, where)
    through: Conditions = {"ForAnyValue:StringEquals": {"aws:CalledVia": ATHENA}}
    yield _statement("Logs", "s3:GetObject", _objects(asked, where), through)
    bucket, prefix = _place(asked.answers, "where Athena leaves its answers", "--answers")
    arn = f"arn:{where.partition}:s3:::{bucket}"
    objects = ["GetObject", "PutObject", "AbortMultipartUpload", "ListMultipartUploadParts"]
    yield _statement("Answers", [f"s3:{name}" for name in objects], f"{arn}/{prefix}*")
    whole = ["GetBucketLocation", "ListBucketMultipartUploads"]
    yield _statement("AnswersBucket", [f"s3:{name}" for name in whole], arn)


def _listing(asked: Asked, where: Where) -> Iterator[Document]:
    bucket, prefix = _logs(asked)
    yield _statement(
        "List",
        "s3:ListBucket",
        f"arn:{where.partition}:s3:::{bucket}",
        {"StringLike": {"s3:prefix": f"{prefix}AWSLogs/*"}},
    )


def _objects(asked: Asked, where: Where) -> list[str]:
    """The account's files of a trail of its own, and of an organization's."""
    bucket, prefix = _logs(asked)
    above = f"arn:{where.partition}:s3:::{bucket}/{prefix}AWSLogs"
    return [f"{above}/{where.account}/*", f"{above}/o-*/{where.account}/*"]


def _logs(asked: Asked) -> tuple[str, str]:
    given = asked.source if asked.kind == "s3" else asked.logs
    bucket, prefix = _place(given, "the trail's files are in", "--logs")
    return bucket, re.sub(r"(^|/)AWSLogs(/.*)?\Z", r"\1", prefix)


def _place(url: str | None, what: str, option: str) -> tuple[str, str]:
    """Bucket and prefix, which ends in a slash where there is one."""
    match = None if url is None else _URL.fullmatch(url)
    if match is None:
        raise ParameterError(
            f"Which bucket {what} is not said"
            + ("." if url is None else f": {url!r} is not of the form s3://bucket/prefix."),
            f"Give it by {option} s3://bucket/prefix.",
        )
    return match["bucket"], f"{match['prefix']}/" if match["prefix"] else ""


_NEEDS: Final[Mapping[str, Callable[[Asked, Where], Iterator[Document]]]] = {
    "lookup": _lookup,
    "trail": _trail,
    "s3": _files,
    "athena": _athena,
    "path": _path,
}
