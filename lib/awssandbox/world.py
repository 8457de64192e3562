"""Everything that one sandbox remembers: time, identifiers, state, principals, records."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable
from functools import cached_property
from typing import TYPE_CHECKING, TypeVar, cast

from awssandbox.clock import Clock
from awssandbox.identifiers import Identifiers

if TYPE_CHECKING:
    from awssandbox.authorise import Authoriser
    from awssandbox.call import Call, Caller
    from awssandbox.faults import Faults
    from awssandbox.forward import ServiceAccess
    from awssandbox.keeping import Keeper
    from awssandbox.kms.principals import Directory
    from awssandbox.moto_iam import Iam, IamPrincipal
    from awssandbox.moto_s3 import Buckets
    from awssandbox.moto_trails import Trails
    from awssandbox.records import Trail

DEFAULT_ACCOUNT = "111122223333"
DEFAULT_REGION = "us-west-2"

GLOBAL_REGIONS = {"aws": "us-east-1", "aws-cn": "cn-north-1", "aws-us-gov": "us-gov-west-1"}
"""The Region of each partition in which services that are one for the partition are recorded.

Of aws-cn and aws-us-gov it is where the SDK signs for IAM, by its table of endpoints.
Source: https://docs.aws.amazon.com/awscloudtrail/latest/userguide/cloudtrail-concepts.html
"""

State = TypeVar("State")
Seen = TypeVar("Seen")


def partition_of(region: str) -> str:
    """The partition of a Region, by its name's beginning.

    Source: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference-arns.html
    """
    return {"cn": "aws-cn", "us-gov": "aws-us-gov"}.get(region.rsplit("-", 2)[0], "aws")


class World:
    """One sandbox's memory. `event_delay_s` is how long a record waits before look-ups see it.

    `faults` is what goes wrong by schedule, None for nothing.

    `keeper` writes the state to disk, None where it ends with the process.

    `lock` is held around each served call, those that services make in process included.
    """

    def __init__(
        self,
        seed: int | None = None,
        clock: Clock | None = None,
        event_delay_s: float = 0.0,
        account: str = DEFAULT_ACCOUNT,
        region: str = DEFAULT_REGION,
        faults: Faults | None = None,
    ) -> None:
        self.clock = Clock() if clock is None else clock
        self.ids = Identifiers(seed)
        self.event_delay_s = event_delay_s
        self.account = account
        self.region = region
        self.faults = faults
        self.partition = partition_of(region)
        self.lock = threading.RLock()
        self._states: dict[tuple[type, str, str], object] = {}
        self.keeper: Keeper | None = None

    def __getstate__(self) -> dict[str, object]:
        """What is kept of it; what keeps it is not."""
        return {**self.__dict__, "keeper": None}

    def state(self, kind: Callable[[], State], account: str, region: str) -> State:
        """The state of class `kind` in an account and Region, made on first use."""
        place = (cast(type, kind), account, region)
        with self.lock:
            if place not in self._states:
                self._states[place] = kind()
            return cast(State, self._states[place])

    def states(self, kind: Callable[[], State]) -> dict[tuple[str, str], State]:
        """All states of class `kind` that exist, by account and Region."""
        with self.lock:
            return {
                (account, region): cast(State, state)
                for (made, account, region), state in self._states.items()
                if made is kind
            }

    def new_account(self) -> str:
        """The number of an account that nobody has used."""
        used = {self.account, *self.iam.accounts(), *(account for _, account, _ in self._states)}
        while True:
            account = f"{int(self.ids.make('account'), 16) % 10**12:012}"
            if account not in used:
                return account

    @property
    def global_region(self) -> str:
        """The Region in which services that are one for the partition are recorded."""
        return GLOBAL_REGIONS[self.partition]

    @cached_property
    def iam(self) -> Iam:
        """Users, groups, roles and their policies, of every account."""
        from awssandbox.moto_iam import Iam

        return Iam(self)

    @cached_property
    def buckets(self) -> Buckets:
        """The buckets of every account, and what is in them."""
        from awssandbox.moto_s3 import Buckets

        return Buckets(self)

    @cached_property
    def trails(self) -> Trails:
        """The trails of every account, as they are configured."""
        from awssandbox.moto_trails import Trails

        return Trails(self)

    def deliver(self) -> None:
        """Let trails write what was due by now.

        To be called before whatever could see files, or change what is delivered.
        """
        self.trails.deliver()

    @property
    def principals(self) -> Directory:
        """The principals that new key policies and grants may name."""
        if self.faults is None:
            return self.iam
        return self.faults.directory(self.iam, self.clock.now())

    def seen(self, thing: Hashable, current: Seen) -> Seen:
        """A thing as reads and decisions see it, where a schedule makes changes late; see `late`.

        A thing that is not seen yet is None.
        """
        if self.faults is None:
            return current
        return self.faults.late.seen(thing, current, self.clock.now())

    def seen_principal(self, arn: str) -> IamPrincipal | None:
        """The user or role with this ARN as decisions see it, None if there is none."""
        found = self.iam.find(arn)
        return None if found is None else self.seen(("standing", found.unique_id), found)

    @cached_property
    def authoriser(self) -> Authoriser:
        """Judges whether a caller may do what a call needs."""
        from awssandbox.authorise import Authoriser

        return Authoriser(self)

    @cached_property
    def trail(self) -> Trail:
        """The CloudTrail records of all calls."""
        from awssandbox.records import Trail

        return Trail(self)

    def forward(self, call: Call, caller: Caller) -> ServiceAccess:
        """In-process clients by which `caller` calls on within `call`."""
        from awssandbox.forward import ServiceAccess

        return ServiceAccess(self, caller, call.region)

    def assume_for_service(
        self, call: Call, role_arn: str, service: str, session_name: str
    ) -> ServiceAccess:
        """In-process clients of a role's session that `service` assumes within `call`.

        Raises AwsError when the role does not exist or its trust policy does not let the service.
        """
        from awssandbox.forward import ServiceAccess
        from awssandbox.sts.sessions import session_for_service

        return ServiceAccess(
            self, session_for_service(self, call, role_arn, service, session_name), call.region
        )
