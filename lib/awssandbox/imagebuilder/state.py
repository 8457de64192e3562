"""What Image Builder remembers of one account in one Region."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from awssandbox.imagebuilder.arns import ResourceArn
from awssandbox.imagebuilder.versions import Version, VersionPattern, latest


@dataclass(frozen=True, slots=True)
class Encrypted:
    """A document under a customer managed key: the Encryption SDK's message, and the key's ARN."""

    message: bytes
    key_arn: str


@dataclass(frozen=True, slots=True)
class Workflow:
    """One build version of a workflow. It never changes once it is made, but for its tags.

    `body` is the document's text, or, when `kms_key_id` was given, the message that only KMS opens:
    the plain text is kept nowhere. `fingerprint` is a hash of the configuration.
    """

    arn: ResourceArn
    name: str
    version: Version
    type: str
    owner: str
    date_created: str
    body: str | Encrypted
    fingerprint: str
    description: str | None = None
    change_description: str | None = None
    kms_key_id: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)

    @property
    def build(self) -> int:
        """The build number that Image Builder assigned."""
        return self.arn.build or 0


@dataclass(frozen=True, slots=True)
class Execution:
    """What became of one workflow in one build; `status` is of the model's words."""

    execution_id: str
    workflow: ResourceArn
    type: str
    status: str
    message: str
    parallel_group: str | None = None


@dataclass(frozen=True, slots=True)
class Image:
    """An image resource: the request that made it, the state in which its build ends, its tags."""

    arn: ResourceArn
    type: str
    date_created: str
    state: Mapping[str, Any]
    request: Mapping[str, Any]
    executions: tuple[Execution, ...] = ()
    tags: Mapping[str, str] = field(default_factory=dict)
    cancelled: bool = False

    @property
    def name(self) -> str:
        """The image's name, which is its recipe's."""
        return self.arn.path.partition("/")[2]


@dataclass(frozen=True, slots=True)
class Resource:
    """A component, recipe or configuration: what its Get shows, but for what is encrypted.

    `kind` is its name in operations (``ImageRecipe``); a configuration's ARN has no version.
    """

    arn: ResourceArn
    kind: str
    date_created: str
    detail: Mapping[str, Any]
    fingerprint: str
    body: str | Encrypted | None = None
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Remembered:
    """What an operation answered to a client token, and a hash of the request it came with."""

    fingerprint: str
    output: Mapping[str, Any]


@dataclass(slots=True)
class ImageBuilderState:
    """Workflows, images, other resources and client tokens of one account in one Region."""

    workflows: dict[str, Workflow] = field(default_factory=dict)
    images: dict[str, Image] = field(default_factory=dict)
    tokens: dict[tuple[str, str], Remembered] = field(default_factory=dict)
    resources: dict[str, Resource] = field(default_factory=dict)

    def builds(self, path: str) -> Iterator[Workflow]:
        """Every build of every version of the workflow at `path` (``workflow/build/name``)."""
        return (workflow for workflow in self.workflows.values() if workflow.arn.path == path)

    def find(self, arn: ResourceArn, pattern: VersionPattern) -> Workflow | None:
        """The workflow build that `arn` names, or the latest that its version pattern matches."""
        if arn.build is not None:
            return self.workflows.get(str(arn))
        candidates = self.builds(arn.path)
        return latest(((w.version, w.build, w) for w in candidates), pattern)

    def next_build(self, arn: ResourceArn) -> int:
        """The build number that the next CreateWorkflow of this version gets.

        One more than the highest that exists. UNCONFIRMED: whether AWS gives out the number of a
        deleted build again.
        """
        return 1 + max(
            (w.build for w in self.builds(arn.path) if w.version.text == arn.version), default=0
        )

    def next_image_build(self, arn: ResourceArn) -> int:
        """The build number of the next image of this name and version: as `next_build`."""
        same = (one.arn for one in self.images.values() if one.arn.version_arn == str(arn))
        return 1 + max((one.build or 0 for one in same), default=0)
