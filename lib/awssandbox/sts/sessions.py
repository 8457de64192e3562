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

from iamaccess import ContextValue, Policy, Principal, parse_policy

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
    mfa: bool = False

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
            mfa=self.mfa,
        )


@dataclass(frozen=True, slots=True)
class UserSession:
    """Temporary credentials of a user (GetSessionToken), with or without MFA."""

    access_key_id: str
    secret_access_key: str = field(repr=False)
    session_token: str = field(repr=False)
    expires: datetime
    created: datetime
    user_arn: str
    user_id: str
    user_name: str
    account: str
    mfa: bool

    def caller(self, world: World, source_ip: str, user_agent: str) -> Caller:
        """Who calls with these credentials: the user itself.

        UNCONFIRMED: that its records' session context has an empty issuer.
        """
        return Caller(
            principal=Principal("user", self.user_arn, self.account, unique_id=self.user_id),
            principal_id=self.user_id,
            access_key_id=self.access_key_id,
            account=self.account,
            source_ip=source_ip,
            user_agent=user_agent,
            user_name=self.user_name,
            session_created=self.created,
            mfa=self.mfa,
        )


class Sessions(dict[str, Session | UserSession]):
    """The sessions of all accounts by their access key ids."""


def _sessions(world: World) -> Sessions:
    return world.state(Sessions, "", "")


def find(world: World, access_key_id: str) -> Session | UserSession | None:
    """The session with this access key id (``ASIA…``), expired or not; None if there is none."""
    return _sessions(world).get(access_key_id)


def start(
    call: Call,
    role: IamPrincipal,
    name: str,
    duration_s: int = DEFAULT_DURATION_S,
    policies: tuple[Policy, ...] = (),
    mfa: bool = False,
) -> Session:
    """Make and keep a session of `role`, which was found to be allowed."""
    key_id, secret, token = _new_credentials(call, role.arn)
    session = Session(
        access_key_id=key_id,
        secret_access_key=secret,
        session_token=token,
        expires=real_now().replace(microsecond=0) + timedelta(seconds=duration_s),
        created=call.time.replace(microsecond=0),
        name=name,
        role_arn=role.arn,
        role_id=role.unique_id,
        policies=policies,
        mfa=mfa,
    )
    _sessions(call.world)[session.access_key_id] = session
    return session


def start_of_user(call: Call, duration_s: int, mfa: bool) -> UserSession:
    """Make and keep temporary credentials of the user who calls."""
    caller = call.caller
    key_id, secret, token = _new_credentials(call, caller.principal.arn)
    session = UserSession(
        access_key_id=key_id,
        secret_access_key=secret,
        session_token=token,
        expires=real_now().replace(microsecond=0) + timedelta(seconds=duration_s),
        created=call.time.replace(microsecond=0),
        user_arn=caller.principal.arn,
        user_id=caller.principal_id,
        user_name=str(caller.user_name),
        account=caller.account,
        mfa=mfa,
    )
    _sessions(call.world)[session.access_key_id] = session
    return session


def _new_credentials(call: Call, whose: str) -> tuple[str, str, str]:
    """Access key id, secret access key and session token."""
    ids = call.world.ids
    about = (call.caller.principal.arn, whose, call.parameters)
    secret = bytes.fromhex(ids.make("session secret", *about))
    token = b"".join(bytes.fromhex(ids.make("session token", *about)) for _ in range(6))
    return (
        ids.unique_id("ASIA", "session", *about)[:20],
        base64.b64encode(secret[:30]).decode(),
        base64.b64encode(token).decode(),
    )


def trusted(role: IamPrincipal, context: Mapping[str, ContextValue]) -> Access:
    """The permission to assume `role`, on which its trust policy decides."""
    return Access(
        ASSUME_ROLE,
        role.arn,
        dict(context),
        resource_policies=(parse_policy(role.trust, kind="trust", name="role trust policy"),),
        resource_account=role.account,
    )


def recorded_credentials(session: Session | UserSession) -> dict[str, Any]:
    """What CloudTrail records of new credentials: never the secret access key.

    Source: https://docs.aws.amazon.com/IAM/latest/UserGuide/cloudtrail-integration.html
    """
    return {
        "credentials": {
            "accessKeyId": session.access_key_id,
            "sessionToken": session.session_token,
            "expiration": shown_time(session.expires),
        }
    }


def recorded(session: Session) -> Mapping[str, Any]:
    """What CloudTrail records of a new session of a role."""
    return {
        **recorded_credentials(session),
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
