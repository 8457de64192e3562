"""Step 01: a customer managed key, with an alias, rotation and tags."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from keyrunbook import policies
from keyrunbook.aws import mutate
from keyrunbook.errors import ParameterError
from keyrunbook.findings import Findings
from keyrunbook.parameters import Parameters
from keyrunbook.plan import Change, Plan
from keyrunbook.steps.common import Place, keep, or_none, passed, place

if TYPE_CHECKING:
    from keyrunbook.session import Run

STEP = "01_create_key"
KEY = "${create_key.key_arn}"
PRICE = "1 USD a month, and 0.03 USD for 10,000 requests"
"""Source: https://aws.amazon.com/kms/pricing/ (read in 2026)"""


@dataclass(frozen=True, slots=True)
class State:
    """What is there: the key (KMS's KeyMetadata) or None, whether it rotates, the alias's key id."""

    place: Place
    key: dict[str, Any] | None
    rotates: bool
    alias_key_id: str | None
    made_here: bool


def observe(run: Run) -> State:
    """Read the key that the run made or was given, and the alias.

    Raises ParameterError when `key_arn` names a key that is not there.
    """
    kms = run.clients("kms")
    wanted = run.facts().get("key_arn") or run.parameters.key_arn
    key = wanted and or_none(
        lambda: kms.describe_key(KeyId=wanted)["KeyMetadata"], "NotFoundException"
    )
    if wanted and key is None:
        raise ParameterError(
            f"There is no key {wanted} in {run.region}.",
            "Correct key_arn, or leave it out to have a key created.",
        )
    alias = or_none(
        lambda: kms.describe_key(KeyId=run.parameters.key_alias)["KeyMetadata"],
        "NotFoundException",
    )
    return State(
        place(run),
        key,
        bool(key) and kms.get_key_rotation_status(KeyId=wanted)["KeyRotationEnabled"],
        alias and alias["KeyId"],
        wanted is not None and wanted != run.parameters.key_arn,
    )


def plan(state: State, parameters: Parameters) -> Plan:
    """Create the key unless one is given; rotation and alias where they are missing.

    Raises ParameterError when the given key cannot serve, or the alias belongs to another key.
    """
    key = state.key
    if key is not None and (unfit := _unfit(key)):
        raise ParameterError(
            f"The key {key['Arn']} cannot protect workflows: it {unfit}.",
            "Give another key by key_arn, or leave key_arn out to have one created.",
        )
    if state.alias_key_id is not None and (key is None or state.alias_key_id != key["KeyId"]):
        raise ParameterError(
            f"{parameters.key_alias} belongs to the key {state.alias_key_id} already.",
            "Give another key_alias, or that key by key_arn.",
        )
    arn = KEY if key is None else key["Arn"]
    changes = []
    if key is None:
        changes.append(_create(state.place))
    if not state.rotates:
        changes.append(
            Change(
                "kms",
                "enable_key_rotation",
                {"KeyId": arn},
                why="fresh key material each year; what is encrypted stays readable",
                undo="DisableKeyRotation",
                cost="1 USD a month for each of the first two rotations",
            )
        )
    if state.alias_key_id is None:
        changes.append(
            Change(
                "kms",
                "create_alias",
                {"AliasName": parameters.key_alias, "TargetKeyId": arn},
                why="a name for people; policies use the key's ARN",
                undo="DeleteAlias",
            )
        )
    return Plan(STEP, tuple(changes))


def _create(place: Place) -> Change:
    policy = policies.administrators_policy(place.partition, place.account)
    return Change(
        "kms",
        "create_key",
        {
            "Description": "Encrypts EC2 Image Builder workflows",
            "Policy": policies.to_text(policy),
            "Tags": [{"TagKey": key, "TagValue": value} for key, value in place.tags.items()],
        },
        why="a key of your own: you decide who uses it, and CloudTrail shows who did",
        undo="ScheduleKeyDeletion, 7 to 30 days; CancelKeyDeletion until then",
        gives={"key_arn": "KeyMetadata.Arn", "key_created": "KeyMetadata.CreationDate"},
        cost=PRICE,
    )


def _unfit(key: dict[str, Any]) -> str | None:
    """Why a key cannot encrypt workflows, or None."""
    if key["KeyManager"] != "CUSTOMER":
        return "is an AWS managed key"
    if key["KeySpec"] != "SYMMETRIC_DEFAULT" or key["KeyUsage"] != "ENCRYPT_DECRYPT":
        return f"is {key['KeySpec']} for {key['KeyUsage']}, not symmetric for encryption"
    if key["KeyState"] != "Enabled":
        return f"is in the state {key['KeyState']}"
    return None


def apply(run: Run, plan: Plan) -> None:
    """Make the changes; remember the key, and whether this run made it and the alias."""
    mutate.apply(run, plan)
    calls = {change.operation for change in plan}
    facts = run.facts()
    if "create_key" in calls:
        run.learn(key_made=True)
    elif "key_arn" not in facts:
        run.learn(key_arn=run.parameters.key_arn, key_made=False)
    if "create_alias" in calls:
        run.learn(alias_made=run.parameters.key_alias)
    run.learn(key_alias=run.parameters.key_alias)


def verify(run: Run) -> Findings:
    """Read the key and its alias again."""
    state = observe(run)
    key = state.key
    if key is None:
        return keep(run, [passed("The key exists", False, "no key yet", "Run the cell above.")])
    return keep(
        run,
        [
            passed("The key is enabled", key["Enabled"], f"state {key['KeyState']}"),
            passed(
                "The key is customer managed, symmetric, for encryption",
                _unfit(key) is None,
                f"{key['KeyManager']}, {key['KeySpec']}, {key['KeyUsage']}",
            ),
            passed("The key rotates by itself", state.rotates, "GetKeyRotationStatus"),
            passed(
                "The alias names the key",
                state.alias_key_id == key["KeyId"],
                f"{run.parameters.key_alias} → {state.alias_key_id}",
            ),
        ],
    )
