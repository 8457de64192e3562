"""The values that flow through the pipeline: who calls, what is called, what is answered."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from iamaccess import ContextValue, Grant, Policy, Principal

if TYPE_CHECKING:
    from awssandbox.forward import ServiceAccess
    from awssandbox.world import World


@dataclass(frozen=True, slots=True)
class Caller:
    """The authenticated principal of one call, with what CloudTrail records of it.

    A call that a service makes for its caller (a forward access session) has the same principal,
    and the service in `invoked_by` and at the end of `called_via`. `secure` says whether the
    principal's own request came by TLS. `mfa` is None of long-term credentials, which carry none.
    """

    principal: Principal
    principal_id: str
    access_key_id: str
    account: str
    source_ip: str
    user_agent: str
    user_name: str | None = None
    session_issuer: Mapping[str, Any] | None = None
    session_created: datetime | None = None
    session_policies: tuple[Policy, ...] = ()
    invoked_by: str | None = None
    called_via: tuple[str, ...] = ()
    secure: bool = False
    mfa: bool | None = None

    def forwarded(self, service: str) -> Caller:
        """This caller as `service` (a service principal) forwards it.

        Source: https://docs.aws.amazon.com/IAM/latest/UserGuide/access_forward_access_sessions.html
        """
        return replace(self, invoked_by=service, called_via=(*self.called_via, service))


@dataclass(frozen=True, slots=True)
class Resource:
    """A resource that a CloudTrail record names: its ARN, CloudFormation type and owner."""

    arn: str
    type: str
    account: str


@dataclass(frozen=True, slots=True)
class Access:
    """One permission that a call needs: action, resource ARN (or ``*``), service condition keys.

    `resource_policies` and `grants` are the resource's side (empty for resources without any);
    `resource_account` is the resource's owner, None for the caller's own account.
    """

    action: str
    resource: str = "*"
    context: Mapping[str, ContextValue] = field(default_factory=dict)
    resource_policies: tuple[Policy, ...] = ()
    grants: tuple[Grant, ...] = ()
    resource_account: str | None = None


DERIVED: Mapping[str, Any] = {"": "derived from the call's parameters"}
"""Marks `Answer.record_request` as to be derived from the call's parameters."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a served call gives back, and what CloudTrail records of it.

    `record_request` replaces the recorded request parameters (KMS leaves out plaintext and
    ciphertext); `record_response` is recorded as ``responseElements``, None for read-only calls;
    `record_extra` is merged into the record (``additionalEventData``, …).
    """

    output: Mapping[str, Any] = field(default_factory=dict)
    resources: tuple[Resource, ...] = ()
    record_request: Mapping[str, Any] | None = field(default_factory=lambda: DERIVED)
    record_response: Mapping[str, Any] | None = None
    record_extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Call:
    """One parsed, authenticated call. `parameters` are as botocore's model names them."""

    caller: Caller
    service: str
    operation: str
    parameters: Mapping[str, Any]
    region: str
    time: datetime
    request_id: str
    world: World

    @property
    def account(self) -> str:
        """The caller's account: calls run in it."""
        return self.caller.account

    def authorise(self, access: Access) -> None:
        """Refuse with AWS's access-denied error unless the caller has `access`."""
        self.world.authoriser.require(self, access)

    def forward(self, service: str) -> ServiceAccess:
        """Clients by which `service` (``imagebuilder.amazonaws.com``) calls on for this caller."""
        return self.world.forward(self, self.caller.forwarded(service))

    def as_role(self, role_arn: str, service: str, session_name: str) -> ServiceAccess:
        """Clients by which `service` calls as a session of a role that it assumes.

        Raises AwsError when the role does not exist or its trust policy does not let the service.
        """
        return self.world.assume_for_service(self, role_arn, service, session_name)


@dataclass(frozen=True, slots=True)
class Operation:
    """A served operation: what must be allowed before it, what it does, and how it is recorded.

    `access` may raise AwsError (an unknown key). `refused_request` and `refused_resources` give the
    record of a call that was refused its parameters (None: the call's own) and its resources.
    A `data_event` is not in the Event history.
    Source: https://docs.aws.amazon.com/awscloudtrail/latest/userguide/logging-data-events-with-cloudtrail.html
    """

    serve: Callable[[Call], Answer]
    access: Callable[[Call], Sequence[Access]]
    read_only: bool
    refused_request: Callable[[Call], Mapping[str, Any] | None] | None = None
    refused_resources: Callable[[Call], tuple[Resource, ...]] | None = None
    data_event: bool = False
