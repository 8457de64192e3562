"""Sessions of roles: temporary credentials, and the caller that they stand for.

Credentials expire on real time, as their clients' clocks are; a session's creation, which policies
and records see, is of the sandbox's time.

Source: https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRole.html
"""

from __future__ import annotations

import base64
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from iamaccess import Policy, Principal, parse_policy

from awssandbox.call import Access, Answer, Call, Caller, Resource
from awssandbox.clock import real_now
from awssandbox.errors import AwsError
from awssandbox.kms.trail import shown_time

if TYPE_CHECKING:
    from awssandbox.moto_iam import IamPrincipal
    from awssandbox.world import World

DEFAULT_DURATION_S: Final = 3600
ASSUME_ROLE: Final = "sts:AssumeRole"


@dataclass(frozen=True, slots=True)
class Session:
    """A session of a role as the role was then: `expires` is real time, `created` the sandbox's."""

    access_key_id: str
    secret_access_key: str = field(repr=False)
    session_token: str = field(repr=False)
    expires: datetime
    created: datetime
    name: str
    role_arn: str
    role_id: str
    policies: tuple[Policy, ...] = ()

    @property
    def account(self) -> str:
        """The role's account."""
        return self.role_arn.split(":")[4]

    @property
    def role_name(self) -> str:
        """The role's name, without its path."""
        return self.role_arn.rsplit("/", 1)[-1]

    @property
    def arn(self) -> str:
        """The session's ARN, which has no path.

        Source: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_identifiers.html
        """
        partition = self.role_arn.split(":")[1]
        return f"arn:{partition}:sts::{self.account}:assumed-role/{self.role_name}/{self.name}"

    @property
    def assumed_role_id(self) -> str:
        """The role's unique id, a colon and the session's name."""
        return f"{self.role_id}:{self.name}"

    def caller(self, world: World, source_ip: str, user_agent: str) -> Caller:
        """Who calls with this session's credentials."""
        return Caller(
            principal=Principal(
                "session", self.arn, self.account, role_arn=self.role_arn, unique_id=self.role_id
            ),
            principal_id=self.assumed_role_id,
            access_key_id=self.access_key_id,
            account=self.account,
            source_ip=source_ip,
            user_agent=user_agent,
            session_issuer={
                "type": "Role",
                "principalId": self.role_id,
                "arn": self.role_arn,
                "accountId": self.account,
                "userName": self.role_name,
            },
            session_created=self.created,
            session_policies=self.policies,
        )


class Sessions(dict[str, Session]):
    """The sessions of all accounts by their access key ids."""


def _sessions(world: World) -> Sessions:
    return world.state(Sessions, "", "")


def find(world: World, access_key_id: str) -> Session | None:
    """The session with this access key id (``ASIA…``), expired or not; None if there is none."""
    return _sessions(world).get(access_key_id)


def start(
    call: Call,
    role: IamPrincipal,
    name: str,
    duration_s: int = DEFAULT_DURATION_S,
    policies: tuple[Policy, ...] = (),
) -> Session:
    """Make and keep a session of `role`, which was found to be allowed."""
    ids = call.world.ids
    about = (call.caller.principal.arn, role.arn, call.parameters)
    secret = bytes.fromhex(ids.make("session secret", *about))
    token = b"".join(bytes.fromhex(ids.make("session token", *about)) for _ in range(6))
    session = Session(
        access_key_id=ids.unique_id("ASIA", "session", *about)[:20],
        secret_access_key=base64.b64encode(secret[:30]).decode(),
        session_token=base64.b64encode(token).decode(),
        expires=real_now().replace(microsecond=0) + timedelta(seconds=duration_s),
        created=call.time.replace(microsecond=0),
        name=name,
        role_arn=role.arn,
        role_id=role.unique_id,
        policies=policies,
    )
    _sessions(call.world)[session.access_key_id] = session
    return session


def trusted(role: IamPrincipal, context: Mapping[str, str]) -> Access:
    """The permission to assume `role`, on which its trust policy decides."""
    return Access(
        ASSUME_ROLE,
        role.arn,
        dict(context),
        resource_policies=(parse_policy(role.trust, kind="trust", name="role trust policy"),),
        resource_account=role.account,
    )


def recorded(session: Session) -> Mapping[str, Any]:
    """What CloudTrail records of a new session: never its secret access key.

    Source: https://docs.aws.amazon.com/IAM/latest/UserGuide/cloudtrail-integration.html
    """
    return {
        "credentials": {
            "accessKeyId": session.access_key_id,
            "sessionToken": session.session_token,
            "expiration": shown_time(session.expires),
        },
        "assumedRoleUser": {"assumedRoleId": session.assumed_role_id, "arn": session.arn},
    }


def role_resource(role_arn: str) -> Resource:
    """A role as the record's ``resources`` name it."""
    return Resource(role_arn, "AWS::IAM::Role", role_arn.split(":")[4])


def session_for_service(
    world: World, call: Call, role_arn: str, service: str, session_name: str
) -> Caller:
    """Who calls when `service` has assumed a role within `call`; the assumption is recorded.

    The trust policy must let the service, with the account of `call` as ``aws:SourceAccount``. The
    caller's permissions do not matter (``iam:PassRole`` was theirs). There is no ``aws:SourceArn``:
    which ARN Image Builder gives is not documented, so a trust policy that asks for it refuses.

    Raises AwsError (AccessDenied) when there is no such role or its trust policy does not let the
    service.
    Source: https://docs.aws.amazon.com/IAM/latest/UserGuide/confused-deputy.html
    """
    from awssandbox.sts import OPERATIONS

    assuming = replace(
        call,
        caller=Caller(
            principal=Principal("service", service, None),
            principal_id=service,
            access_key_id="",
            account=call.account,
            source_ip=service,
            user_agent=service,
            invoked_by=service,
        ),
        service="sts",
        operation="AssumeRole",
        parameters={"RoleArn": role_arn, "RoleSessionName": session_name},
        request_id=str(uuid.uuid4()),
    )
    operation = OPERATIONS["AssumeRole"]
    context = {"aws:SourceAccount": call.account, "sts:RoleSessionName": session_name}
    try:
        role = world.seen_principal(role_arn)
        if role is None or role.kind != "role":
            raise no_role(service, role_arn)
        assuming.authorise(trusted(role, context))
        session = start(assuming, role, session_name)
    except AwsError as refusal:
        world.trail.refused(assuming, operation, refusal)
        raise
    answer = Answer(resources=(role_resource(role.arn),), record_response=recorded(session))
    world.trail.served(assuming, operation, answer)
    return replace(session.caller(world, service, service), invoked_by=service)


def no_role(principal: str, role_arn: str) -> AwsError:
    """The refusal for a role that does not exist: STS does not tell it from one that does."""
    return AwsError(
        "AccessDenied",
        f"User: {principal} is not authorized to perform: {ASSUME_ROLE} on resource: {role_arn}",
        403,
    )
