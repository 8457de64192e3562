"""Account instances of IAM Identity Center: made, listed, deleted. There is no organization.

An account has one at most, in one Region, and other Regions do not list it.
Sources: https://docs.aws.amazon.com/singlesignon/latest/APIReference/API_CreateInstance.html,
https://docs.aws.amazon.com/singlesignon/latest/userguide/account-instances-identity-center.html and
https://docs.aws.amazon.com/service-authorization/latest/reference/list_awsiamidentitycenter.html

UNCONFIRMED: the code where there is one already (of those that are modelled, ConflictException).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from awssandbox.call import Access, Answer, Call, Operation
from awssandbox.errors import AwsError, not_imitated


@dataclass(frozen=True, slots=True)
class Instance:
    """An account instance."""

    arn: str
    identity_store: str
    region: str
    name: str | None
    created: datetime


@dataclass(slots=True)
class Instances:
    """Those of one account."""

    made: list[Instance] = field(default_factory=list)


def _instances(call: Call) -> list[Instance]:
    return call.world.state(Instances, call.account, "").made


def _on_all(call: Call) -> Sequence[Access]:
    return [Access(f"sso:{call.operation}")]


def _on_one(call: Call) -> Sequence[Access]:
    return [Access(f"sso:{call.operation}", call.parameters["InstanceArn"])]


def _create(call: Call) -> Answer:
    given = call.parameters
    if given.get("Tags"):
        raise not_imitated("tags of Identity Center's instances")
    if _instances(call):
        raise AwsError("ConflictException", "The account has an instance already.", 409)
    made = call.world.ids.make("identity center", call.account)
    arn = f"arn:{call.world.partition}:sso:::instance/ssoins-{made[:16]}"
    _instances(call).append(
        Instance(arn, f"d-{made[16:26]}", call.region, given.get("Name"), call.time)
    )
    return Answer({"InstanceArn": arn}, record_response={"instanceArn": arn})


def _list(call: Call) -> Answer:
    if call.parameters.get("RegionScope", "CURRENT_REGION") != "CURRENT_REGION":
        raise not_imitated("ListInstances of all Regions")
    return Answer(
        {
            "Instances": [
                {
                    "InstanceArn": one.arn,
                    "IdentityStoreId": one.identity_store,
                    "OwnerAccountId": call.account,
                    **({} if one.name is None else {"Name": one.name}),
                    "CreatedDate": one.created,
                    "Status": "ACTIVE",
                }
                for one in _instances(call)
                if one.region == call.region
            ]
        }
    )


def _delete(call: Call) -> Answer:
    found = [one for one in _instances(call) if one.arn == call.parameters["InstanceArn"]]
    if not found:
        raise AwsError("ResourceNotFoundException", "There is no such instance.", 404)
    _instances(call).remove(found[0])
    return Answer()


OPERATIONS: Final[Mapping[str, Operation]] = {
    "CreateInstance": Operation(_create, _on_all, read_only=False),
    "ListInstances": Operation(_list, _on_all, read_only=True),
    "DeleteInstance": Operation(_delete, _on_one, read_only=False),
}
