"""Step 01: a customer managed key, with an alias, rotation and tags.

A key that was there before (`key_arn`) is its owners'. It gets an alias only where `key_alias` is
another than the default, and rotation only where `rotate_key` says so.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from keyrunbook import policies
from keyrunbook.aws import mutate
from keyrunbook.aws.refusals import code_of
from keyrunbook.errors import ParameterError, StepFailed
from keyrunbook.findings import Finding, Findings
from keyrunbook.parameters import Parameters, asks_for_alias
from keyrunbook.plan import Applied, Change, Plan, symbol
from keyrunbook.steps import presence
from keyrunbook.steps.common import Forecast, Place, is_central, keep, passed, place

if TYPE_CHECKING:
    from keyrunbook.session import Run

STEP = "01_create_key"
KEY = symbol(STEP, "key_arn")


@dataclass(frozen=True, slots=True)
class State:
    """The key (KMS's KeyMetadata) or None, whether it rotates, and the alias's key id or None.

    `rotates` is None where the operator may not see that. Of a key that is to have no alias nobody
    looks at one.
    """

    place: Place
    key: dict[str, Any] | None
    rotates: bool | None
    alias_key_id: str | None
    made_here: bool
    """Whether this run made the key."""

    @property
    def ours(self) -> bool:
        """Whether the key is the run's: made by it, or still to be made."""
        return self.key is None or self.made_here

    def is_named(self, parameters: Parameters) -> bool:
        """Whether the key is to have the alias."""
        return not self.central and (self.ours or asks_for_alias(parameters))

    def is_to_rotate(self, parameters: Parameters) -> bool:
        """Whether the key's rotation is to be on, as far as it can be."""
        return self.ours if parameters.rotate_key is None else parameters.rotate_key

    @property
    def central(self) -> bool:
        """Whether the key is of another account, which alone gives it aliases and rotation.

        Source: https://docs.aws.amazon.com/kms/latest/developerguide/key-policy-modifying-external-accounts.html
        """
        return self.key is not None and is_central(self.key["Arn"], self.place)

    @property
    def primary(self) -> str | None:
        """The primary key's ARN where this is a replica of it: rotation is the primary's.

        Source: https://docs.aws.amazon.com/kms/latest/developerguide/rotate-keys.html
        """
        multi = (self.key or {}).get("MultiRegionConfiguration", {})
        is_replica = multi.get("MultiRegionKeyType") == "REPLICA"
        return str(multi["PrimaryKey"]["Arn"]) if is_replica else None

    @property
    def fixed(self) -> str | None:
        """Why the key's material cannot rotate by itself, or None.

        Source: https://docs.aws.amazon.com/kms/latest/APIReference/API_EnableKeyRotation.html
        """
        origin = (self.key or {}).get("Origin", "AWS_KMS")
        if origin == "AWS_KMS":
            return None
        return (
            "its material was imported" if origin == "EXTERNAL" else "it is in a custom key store"
        )


def observe(run: Run) -> State:
    """Read the key that the run made or was given, and the alias.

    Raises ParameterError when `key_arn` names a key that is not there, or not the key that this
    run works with; StepFailed when the run's own key is not there any more.
    """
    known, given = run.facts().get("key_arn"), run.parameters.key_arn
    if known and given and known != given:
        raise ParameterError(
            f"The run {run.run_id!r} works with the key {known}; key_arn names {given}.",
            "Leave key_arn out, or start a new run.",
        )
    wanted, made_here = known or given, bool(presence.made(run, "kms:CreateKey"))
    is_named = wanted is None or (
        not is_central(wanted, place(run)) and (made_here or asks_for_alias(run.parameters))
    )
    alias = presence.key(run, run.parameters.key_alias) if is_named else None
    key = _described(run, wanted, alias) if wanted else None
    if known and key is None:
        raise StepFailed(f"The key {known} of this run is not there any more.", "Start a new run.")
    if wanted and key is None:
        raise ParameterError(
            f"There is no key {wanted} in {run.region}.",
            "Correct key_arn, or leave it out to have a key created.",
        )
    return State(
        place(run),
        key,
        False if key is None or _unfit(key) is not None else _rotates(run, key["Arn"]),
        alias["KeyId"] if alias else None,
        made_here,
    )


def _described(run: Run, key_arn: str, alias: dict[str, Any] | None) -> dict[str, Any] | None:
    """The key's metadata, or None; that of the alias, where it names the key."""
    if alias is not None and alias["Arn"] == key_arn:
        return alias
    return presence.key(run, key_arn)


def plan(state: State, parameters: Parameters) -> Plan:
    """Create the key unless one is given; rotation and alias where they are wanted and missing.

    Raises ParameterError when the given key cannot serve, or the alias belongs to another key.
    """
    key = state.key
    if key is not None and (unfit := _unfit(key)):
        raise ParameterError(
            f"The key {key['Arn']} cannot protect workflows: it {unfit}.",
            "Start a new run, which makes a new key."
            if state.made_here
            else "Start a new run with another key_arn, or without one to have a key created.",
        )
    if state.central:
        return Plan(STEP)
    if state.alias_key_id is not None and (key is None or state.alias_key_id != key["KeyId"]):
        raise ParameterError(
            f"{parameters.key_alias} belongs to the key {state.alias_key_id} already.",
            "Give another key_alias, or that key by key_arn.",
        )
    arn = KEY if key is None else key["Arn"]
    changes = []
    if key is None:
        changes.append(_create(state.place))
    can_rotate = state.primary is None and state.fixed is None
    if not state.rotates and can_rotate and state.is_to_rotate(parameters):
        changes.append(
            Change(
                "kms",
                "enable_key_rotation",
                {"KeyId": arn},
                why="fresh key material each year; what is encrypted stays readable",
                undo="DisableKeyRotation",
            )
        )
    if state.alias_key_id is None and state.is_named(parameters):
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


def _rotates(run: Run, key_arn: str) -> bool | None:
    """Whether the key rotates; None where the operator may not see that."""
    try:
        return presence.rotates(run, key_arn)
    except ClientError as error:
        if code_of(error) == "AccessDeniedException" and is_central(key_arn, place(run)):
            return None
        raise


def forecast(run: Run) -> Forecast:
    """What the step would change and leave, from now on."""
    state = observe(run)
    arn = KEY if state.key is None else state.key["Arn"]
    return Forecast(plan(state, run.parameters), {"key_arn": arn})


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
        gives={"key_arn": "KeyMetadata.Arn"},
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


def apply(run: Run, plan: Plan) -> Applied:
    """Make the changes; remember a key that was given."""
    applied = mutate.apply(run, plan, lambda: forecast(run).plan)
    if "key_arn" not in run.facts() and run.parameters.key_arn is not None:
        run.learn(key_arn=run.parameters.key_arn)
    return applied


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
            _rotation(state, run.parameters),
            *([_alias(state, run.parameters.key_alias)] if state.is_named(run.parameters) else []),
        ],
    )


def _rotation(state: State, parameters: Parameters) -> Finding:
    said = "The key rotates by itself"
    if state.fixed is not None:
        why = f"{state.fixed}, so KMS does not rotate it ({(state.key or {})['Origin']})"
        return Finding(said, "not checked", why, "Rotate it yourself, as its owners do.")
    if state.rotates is None:
        return Finding(said, "not checked", "kms:GetKeyRotationStatus is not allowed")
    whose = state.primary or (state.key["Arn"] if state.central and state.key else None)
    if not state.rotates and whose is None and not state.is_to_rotate(parameters):
        why = "it does not, and nobody asked for it: rotate_key is not True"
        return Finding(said, "not checked", why, "Set rotate_key = True to have it turned on.")
    if state.rotates or whose is None:
        return passed(said, state.rotates, "GetKeyRotationStatus")
    return Finding(
        said,
        "not checked",
        "it does not, and it is not this run's to change",
        f"Enable it on {whose}.",
    )


def _alias(state: State, name: str) -> Finding:
    names_it = state.key is not None and state.alias_key_id == state.key["KeyId"]
    return passed("The alias names the key", names_it, f"{name} → {state.alias_key_id}")
