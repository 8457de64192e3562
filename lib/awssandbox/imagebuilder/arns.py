"""ARNs of workflows and images, taken apart and put together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

AMAZON: Final = "aws"
"""Stands in an ARN's account field for the resources that Image Builder manages."""


def resource_name(name: str) -> str:
    """The segment of an ARN made from a resource's `name`: lowercase, with hyphens.

    Names that differ only in case, spaces or underscores are one name.
    Source: the ListWorkflows and CreateWorkflow models (``FilterName``, ``name``).
    https://docs.aws.amazon.com/imagebuilder/latest/APIReference/API_CreateWorkflow.html
    """
    return name.lower().replace(" ", "-").replace("_", "-")


@dataclass(frozen=True, slots=True)
class ResourceArn:
    """An ARN of a workflow, image or recipe: `path` is ``workflow/build/name`` or ``image/name``.

    `version` may hold wildcards; `build` is None in a version ARN.
    """

    partition: str
    region: str
    account: str
    path: str
    version: str
    build: int | None = None

    @property
    def unversioned(self) -> str:
        """The ARN up to the version, without a slash at its end."""
        return f"arn:{self.partition}:imagebuilder:{self.region}:{self.account}:{self.path}"

    @property
    def version_arn(self) -> str:
        """The version ARN."""
        return f"{self.unversioned}/{self.version}"

    def __str__(self) -> str:
        return self.version_arn if self.build is None else f"{self.version_arn}/{self.build}"


def workflow_arn(
    partition: str, region: str, account: str, workflow_type: str, name: str, version: str
) -> ResourceArn:
    """The version ARN of a workflow, from its type and name as CreateWorkflow was given them."""
    path = f"workflow/{workflow_type.lower()}/{resource_name(name)}"
    return ResourceArn(partition, region, account, path, version)


def parse_arn(text: str) -> ResourceArn:
    """Take apart an ARN that has its model's pattern."""
    _, partition, _, region, account, resource = text.split(":", 5)
    kind, *segments = resource.split("/")
    count = 2 if kind == "workflow" else 1
    path = "/".join((kind, *segments[:count]))
    version, *build = segments[count:]
    return ResourceArn(partition, region, account, path, version, int(build[0]) if build else None)


def owner_of(text: str) -> str | None:
    """The account that owns a resource; None for one that Image Builder manages for everybody."""
    account = text.split(":")[4]
    return account if account.isdigit() else None
