"""What became of a call whose outcome is unknown: looked up in AWS, not hoped for."""

from __future__ import annotations

import ast
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from keyrunbook import sandboxes
from keyrunbook.aws import mutate, settle
from keyrunbook.aws.clients import Clients, sandbox_clients
from keyrunbook.aws.settle import LOOK_UPS
from keyrunbook.errors import OutcomeUnknown, PlanStale, RunBusy
from keyrunbook.ledger import Ledger
from keyrunbook.parameters import Parameters, workflow_document
from keyrunbook.plan import Change, Plan, shown
from keyrunbook.policies import administrators_policy, to_text, trust_policy
from keyrunbook.sandboxes import Sandbox, start_private
from keyrunbook.session import Run, open_step

ACCOUNT = "111122223333"
STEP = "01_create_key"
POLICY = to_text(administrators_policy("aws", ACCOUNT))
TRUST = to_text(trust_policy(ACCOUNT))
RECIPE = f"arn:aws:imagebuilder:us-west-2:{ACCOUNT}:image-recipe/example/1.0.0"
MACHINES = f"arn:aws:imagebuilder:us-west-2:{ACCOUNT}:infrastructure-configuration/example"


# Each call has one


def changes_in(source: str) -> Iterator[str]:
    """The calls of the changes that a module plans, as AWS names them."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "Change":
            words = [one.value for one in node.args[:2] if isinstance(one, ast.Constant)]
            if len(words) == 2:
                yield Change(words[0], words[1], {}, why="", undo="").call


def test_every_call_that_is_planned_has_a_look_up() -> None:
    modules = (Path(settle.__file__).parents[1]).rglob("*.py")
    planned = {call for path in modules for call in changes_in(path.read_text(encoding="utf-8"))}
    assert "kms:CreateKey" in planned
    only_rehearsed = {"kms:GenerateDataKey"}
    assert planned - only_rehearsed - set(LOOK_UPS) == set()


def test_a_call_without_a_look_up_is_not_sent(make_run: Callable[..., Run]) -> None:
    run = make_run()
    change = Change("kms", "update_alias", {"AliasName": "alias/a"}, why="", undo="")
    with pytest.raises(KeyError, match="UpdateAlias"):
        mutate.apply(run, Plan(STEP, (change,)))
    assert run.ledger.of_kind("intent") == []


# Each tells what was made from what was not


@pytest.fixture
def clients(sandbox: Sandbox) -> Clients:
    """Clients of the account's administrator, kept from test to test."""
    return sandbox_clients(sandbox.ready(), "us-west-2")


@pytest.fixture
def make_run(
    sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Run]:
    """Opens a run on the shared sandbox."""
    for name, value in sandbox.environment().items():
        monkeypatch.setenv(name, value)

    def make(step: str = STEP, **given: Any) -> Run:
        given = {"run_id": "r", "outputs_dir": str(tmp_path), "settle_seconds": 0, **given}
        return open_step(step, Parameters(target="sandbox", **given))

    return make


class World:
    """What the calls are about: made once, by the administrator."""

    def __init__(self, clients: Clients, word: str) -> None:
        self.kms, self.iam, self.builder = map(clients, ("kms", "iam", "imagebuilder"))
        self.word = word

    def key(self, **more: Any) -> str:
        return str(self.kms.create_key(Policy=POLICY, **more)["KeyMetadata"]["Arn"])

    def alias(self) -> str:
        name = f"alias/{self.word}"
        self.kms.create_alias(AliasName=name, TargetKeyId=self.key())
        return name

    def role(self) -> str:
        self.iam.create_role(RoleName=self.word, AssumeRolePolicyDocument=TRUST)
        return self.word

    def workflow(self) -> dict[str, Any]:
        return {
            "name": self.word,
            "semanticVersion": "1.0.0",
            "type": "BUILD",
            "data": workflow_document(Parameters()),
        }

    def image(self) -> dict[str, Any]:
        arn = self.builder.create_workflow(**self.workflow())["workflowBuildVersionArn"]
        return {
            "imageRecipeArn": RECIPE,
            "infrastructureConfigurationArn": MACHINES,
            "executionRole": f"arn:aws:iam::{ACCOUNT}:role/{self.role()}",
            "workflows": [{"workflowArn": arn}],
        }


MORE = to_text(
    {
        **administrators_policy("aws", ACCOUNT),
        "Statement": [
            *administrators_policy("aws", ACCOUNT)["Statement"],
            {"Effect": "Deny", "Principal": "*", "Action": "kms:ReEncryptTo", "Resource": "*"},
        ],
    }
)
RUN_TAGS = {"keyrunbook:run": "r"}
KMS_TAGS = [{"TagKey": "keyrunbook:run", "TagValue": "r"}]
IAM_TAGS = [{"Key": "keyrunbook:run", "Value": "r"}]
INLINE = json.dumps(
    {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "a:b", "Resource": "*"}]}
)


def _policy_named(world: World) -> dict[str, Any]:
    return {"RoleName": world.role(), "PolicyName": "p"}


def _with_policy(world: World) -> dict[str, Any]:
    named = _policy_named(world)
    world.iam.put_role_policy(**named, PolicyDocument=INLINE)
    return named


def _rotating(world: World) -> dict[str, Any]:
    key = world.key()
    world.kms.enable_key_rotation(KeyId=key)
    return {"KeyId": key}


def _disabled(world: World) -> dict[str, Any]:
    key = world.key()
    world.kms.disable_key(KeyId=key)
    return {"KeyId": key}


def _scheduled(world: World) -> dict[str, Any]:
    key = world.key()
    world.kms.schedule_key_deletion(KeyId=key)
    return {"KeyId": key}


def _grant(world: World) -> dict[str, Any]:
    key, role = world.key(), f"arn:aws:iam::{ACCOUNT}:role/{world.role()}"
    return {"KeyId": key, "GranteePrincipal": role, "Operations": ["Decrypt"]}


def _granted(world: World) -> dict[str, Any]:
    given = _grant(world)
    return {"KeyId": given["KeyId"], "GrantId": world.kms.create_grant(**given)["GrantId"]}


def _built(world: World) -> dict[str, Any]:
    answer = world.builder.create_workflow(**world.workflow())
    return {"workflowBuildVersionArn": answer["workflowBuildVersionArn"]}


def _imaged(world: World) -> dict[str, Any]:
    answer = world.builder.create_image(**world.image())
    return {"imageBuildVersionArn": answer["imageBuildVersionArn"]}


CALLS: dict[str, tuple[str, Callable[[World], dict[str, Any]], str | None]] = {
    "kms:CreateKey": ("create_key", lambda w: {"Tags": KMS_TAGS}, "KeyMetadata.Arn"),
    "kms:EnableKeyRotation": ("enable_key_rotation", lambda w: {"KeyId": w.key()}, None),
    "kms:DisableKeyRotation": ("disable_key_rotation", _rotating, None),
    "kms:CreateAlias": (
        "create_alias",
        lambda w: {"AliasName": f"alias/{w.word}", "TargetKeyId": w.key()},
        None,
    ),
    "kms:DeleteAlias": ("delete_alias", lambda w: {"AliasName": w.alias()}, None),
    "kms:PutKeyPolicy": (
        "put_key_policy",
        lambda w: {
            "KeyId": w.key(),
            "PolicyName": "default",
            "Policy": MORE,
        },
        None,
    ),
    "kms:CreateGrant": ("create_grant", _grant, "GrantId"),
    "kms:RevokeGrant": ("revoke_grant", _granted, None),
    "kms:EnableKey": ("enable_key", _disabled, None),
    "kms:DisableKey": ("disable_key", lambda w: {"KeyId": w.key()}, None),
    "kms:ScheduleKeyDeletion": (
        "schedule_key_deletion",
        lambda w: {"KeyId": w.key()},
        "DeletionDate",
    ),
    "kms:CancelKeyDeletion": ("cancel_key_deletion", _scheduled, None),
    "iam:CreateRole": (
        "create_role",
        lambda w: {"RoleName": w.word, "AssumeRolePolicyDocument": TRUST, "Tags": IAM_TAGS},
        None,
    ),
    "iam:DeleteRole": ("delete_role", lambda w: {"RoleName": w.role()}, None),
    "iam:PutRolePolicy": (
        "put_role_policy",
        lambda w: {**_policy_named(w), "PolicyDocument": INLINE},
        None,
    ),
    "iam:DeleteRolePolicy": ("delete_role_policy", _with_policy, None),
    "imagebuilder:CreateWorkflow": (
        "create_workflow",
        lambda w: {**w.workflow(), "tags": RUN_TAGS},
        "workflowBuildVersionArn",
    ),
    "imagebuilder:DeleteWorkflow": ("delete_workflow", _built, None),
    "imagebuilder:CreateImage": (
        "create_image",
        lambda w: {**w.image(), "tags": RUN_TAGS},
        "imageBuildVersionArn",
    ),
    "imagebuilder:DeleteImage": ("delete_image", _imaged, None),
}
"""A call: its method, what it is given in a new world, and what of its answer is wanted.

CancelImageCreation needs an image that is being built: its state is looked at as DeleteImage's is.
"""


@pytest.mark.e2e
@pytest.mark.parametrize("call", CALLS)
def test_a_look_up_tells_made_from_not_made(
    call: str, make_run: Callable[..., Run], clients: Clients
) -> None:
    run = make_run(run_id="r")
    service, operation = call.split(":")
    method, give, wanted = CALLS[call]
    given = give(World(clients, f"made-{operation.lower()}"))
    answers = {} if wanted is None else {"it": wanted}
    run.record("intent", call=call, parameters=shown(given), answers=answers)
    (intent,) = run.ledger.unsettled()
    before = settle.look(run, intent)
    assert not before.made, before
    answer = getattr(clients(service), method)(**given)
    (found,) = settle.all_of(run)
    assert found.made
    if wanted is not None:
        assert found.gives == {"it": settle.at(answer, wanted)}
        assert str(run.facts()["it"]) == str(found.gives["it"])
    assert run.ledger.unsettled() == []
    outcome = run.ledger.of_kind("outcome")[-1]
    assert (outcome["status"], outcome["intent"]) == ("done", intent["n"])
    assert outcome["found"] == LOOK_UPS[call].by
    _forget(run, call, found.gives, clients)


def _forget(run: Run, call: str, gives: Any, clients: Clients) -> None:
    """What carries the run's tag would be found by the next test."""
    if call == "kms:CreateKey":
        clients("kms").untag_resource(KeyId=gives["it"], TagKeys=["keyrunbook:run"])


def test_every_look_up_is_tried() -> None:
    assert set(LOOK_UPS) - set(CALLS) == {"imagebuilder:CancelImageCreation"}


# Evidence


@pytest.mark.e2e
def test_of_several_keys_none_is_taken(make_run: Callable[..., Run], clients: Clients) -> None:
    run = make_run(run_id="several")
    tags = [{"TagKey": "keyrunbook:run", "TagValue": "several"}]
    gives = {"key_arn": "KeyMetadata.Arn"}
    run.record("intent", call="kms:CreateKey", parameters={}, answers=gives)
    arns = [World(clients, "x").key(Tags=tags) for _ in range(2)]
    with pytest.raises(OutcomeUnknown, match="any of these keys") as caught:
        make_run(run_id="several")
    assert all(arn in caught.value.what for arn in arns)
    clients("kms").untag_resource(KeyId=arns[0], TagKeys=["keyrunbook:run"])
    assert make_run(run_id="several").facts()["key_arn"] == arns[1]


@pytest.mark.e2e
def test_what_is_another_run_s_or_known_already_is_not_taken(
    make_run: Callable[..., Run], clients: Clients
) -> None:
    run, world = make_run(run_id="other"), World(clients, "other-role")
    own = world.key(Tags=[{"TagKey": "keyrunbook:run", "TagValue": "other"}])
    world.key(Tags=[{"TagKey": "keyrunbook:run", "TagValue": "elsewhere"}])
    run.record("intent", call="kms:CreateKey", parameters={})
    run.record("outcome", call="kms:CreateKey", status="done", gives={"key_arn": own})
    run.record("intent", call="kms:CreateKey", parameters={})
    (found,) = settle.all_of(run)
    assert not found.made
    world.role()  # without a tag
    run.record("intent", call="iam:CreateRole", parameters={"RoleName": world.word})
    (found,) = settle.all_of(run)
    assert not found.made
    assert "nothing of it" in found.how


@pytest.mark.e2e
def test_a_key_that_cannot_be_looked_at_is_said_and_stops_the_run(
    make_run: Callable[..., Run], clients: Clients, sandbox: Sandbox
) -> None:
    """One that is known to be older, though its tags may not be read, does not."""
    kms = clients("kms")

    def closed(*allowed: str) -> str:
        key = World(clients, "closed").key()
        policy = json.loads(POLICY)
        policy["Statement"][0]["Action"] = ["kms:PutKeyPolicy", "kms:Create*", *allowed]
        kms.put_key_policy(KeyId=key, PolicyName="default", Policy=json.dumps(policy))
        return key

    old, hidden = closed("kms:DescribeKey"), closed("kms:Get*")
    sandboxes.command(sandbox.ready(), "advance", seconds=120)
    new = closed("kms:DescribeKey")
    run = make_run(run_id="unread")
    run.record("intent", call="kms:CreateKey", parameters={})
    with pytest.raises(OutcomeUnknown, match="kms:ListResourceTags") as caught:
        make_run(run_id="unread")
    named = {key for key in (old, hidden, new) if key in caught.value.what}
    assert named == {hidden, new}
    assert "keyrunbook:run = unread" in caught.value.fix
    for key in (old, hidden, new):
        kms.put_key_policy(KeyId=key, PolicyName="default", Policy=POLICY)
    assert make_run(run_id="unread").ledger.unsettled() == []


# A run that is opened settles first, and not while the call may still be under way


@pytest.mark.e2e
def test_while_another_process_waits_for_the_answer_a_run_is_not_opened(
    make_run: Callable[..., Run],
) -> None:
    run = make_run(run_id="busy")
    given = {"AliasName": "alias/none", "TargetKeyId": "none"}
    run.record("intent", call="kms:CreateAlias", parameters=given)
    with Ledger(run.ledger.path).applying(), pytest.raises(RunBusy):
        make_run(run_id="busy")
    assert make_run(run_id="busy").ledger.of_kind("outcome")[-1]["status"] == "not made"


# A plan that does not know of everything


KEY = Change("kms", "create_key", {"Policy": POLICY, "Tags": []}, why="x", undo="x")


@pytest.mark.e2e
def test_a_plan_is_stale_once_another_process_has_changed_something(
    make_run: Callable[..., Run], clients: Clients
) -> None:
    first, second = make_run(run_id="stale"), make_run(run_id="stale")
    keys = len(clients("kms").list_keys()["Keys"])
    mutate.apply(first, Plan(STEP, (KEY,)))
    with pytest.raises(PlanStale, match="another process has changed something"):
        mutate.apply(second, Plan(STEP, (KEY,)))
    mutate.apply(first, Plan(STEP, (KEY,)))  # who made the change itself knows of it
    mutate.apply(first.at("02_grant_access"), Plan(STEP, (KEY,)))
    assert len(clients("kms").list_keys()["Keys"]) == keys + 3


@pytest.mark.e2e
def test_a_plan_is_stale_whose_own_call_had_no_known_outcome(
    make_run: Callable[..., Run], clients: Clients
) -> None:
    """As after an interrupt: the notebook is open still, and its cell is run again."""
    run = make_run(run_id="again")

    def die(**_: Any) -> None:
        raise KeyboardInterrupt

    tagged = Change(
        "kms",
        "create_key",
        {"Policy": POLICY, "Tags": [{"TagKey": "keyrunbook:run", "TagValue": "again"}]},
        why="x",
        undo="x",
        gives={"key_arn": "KeyMetadata.Arn"},
    )
    events = run.clients.once("kms").meta.events
    events.register("after-call.kms.CreateKey", die, unique_id="die")
    with pytest.raises(KeyboardInterrupt):
        mutate.apply(run, Plan(STEP, (tagged,)))
    events.unregister("after-call.kms.CreateKey", unique_id="die")
    keys = len(clients("kms").list_keys()["Keys"])
    with pytest.raises(PlanStale, match="made \\(ListKeys"):
        mutate.apply(run, Plan(STEP, (tagged,)))
    assert len(clients("kms").list_keys()["Keys"]) == keys
    assert run.facts()["key_arn"].startswith("arn:aws:kms:")


# What is sent again, and what is not


FAULTS = """\
- {service: kms, operation: CreateKey, fault: seen_late, seconds: 0.6}
- {service: kms, operation: CreateKey, fault: reset_after}
- {service: kms, operation: EnableKeyRotation, fault: server_error}
- {service: kms, operation: CreateAlias, fault: reset_before}
- {service: kms, operation: DisableKeyRotation, fault: throttle, times: 2}
- {service: kms, operation: PutKeyPolicy, fault: unavailable}
- {service: kms, operation: DeleteAlias, fault: reset_after}
- {service: kms, operation: ScheduleKeyDeletion, fault: reset_after}
- {service: iam, operation: CreateRole, fault: seen_late, seconds: 1.5}
- {service: iam, operation: CreateRole, fault: reset_after}
- {service: imagebuilder, operation: CreateWorkflow, fault: reset_after}
- {service: imagebuilder, operation: CreateWorkflow, fault: reset_before, after: 1}
"""
KEY_ARN = "${create_key.key_arn}"
SENT: list[tuple[str, dict[str, Any], dict[str, str], list[str]]] = [
    (
        "create_key",
        {"Policy": POLICY, "Tags": [{"TagKey": "keyrunbook:run", "TagValue": "faults"}]},
        {"key_arn": "KeyMetadata.Arn"},
        ["unknown", "done"],
    ),
    ("enable_key_rotation", {"KeyId": KEY_ARN}, {}, ["unknown", "not made", "done"]),
    (
        "create_alias",
        {"AliasName": "alias/faults", "TargetKeyId": KEY_ARN},
        {},
        ["unknown", "not made", "done"],
    ),
    ("disable_key_rotation", {"KeyId": KEY_ARN}, {}, ["refused", "refused", "done"]),
    (
        "put_key_policy",
        {"KeyId": KEY_ARN, "PolicyName": "default", "Policy": POLICY},
        {},
        ["unknown", "done"],
    ),
    ("delete_alias", {"AliasName": "alias/faults"}, {}, ["unknown", "done"]),
    (
        "schedule_key_deletion",
        {"KeyId": KEY_ARN},
        {"deletion_date": "DeletionDate"},
        ["unknown", "done"],
    ),
    (
        "create_role",
        {
            "RoleName": "faults",
            "AssumeRolePolicyDocument": TRUST,
            "Tags": [{"Key": "keyrunbook:run", "Value": "faults"}],
        },
        {},
        ["unknown", "not made", "done"],
    ),
    (
        "create_workflow",
        {
            "name": "faults-workflow",
            "semanticVersion": "1.0.0",
            "type": "BUILD",
            "data": workflow_document(Parameters()),
            "tags": {"keyrunbook:run": "faults"},
        },
        {"workflow_arn": "workflowBuildVersionArn"},
        ["unknown", "done"],
    ),
]


@pytest.mark.e2e
def test_nothing_is_made_twice_whatever_goes_wrong_on_the_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    schedule = tmp_path / "faults.yaml"
    schedule.write_text(FAULTS)
    with start_private("--event-delay", "0", "--faults", str(schedule)) as faulty:
        monkeypatch.setenv(*next(iter(faulty.environment().items())))
        handoff = faulty.ready()
        given = {"run_id": "faults", "outputs_dir": str(tmp_path), "settle_seconds": 1}
        run = open_step(STEP, Parameters(target="sandbox", **given))
        clients = sandbox_clients(handoff)
        for operation, parameters, gives, statuses in SENT:
            service = {"create_role": "iam", "create_workflow": "imagebuilder"}.get(operation)
            change = Change(service or "kms", operation, parameters, "x", "x", gives=gives)
            before = len(run.ledger.of_kind("outcome"))
            mutate.apply(run, Plan(STEP, (change,)))
            made = [one["status"] for one in run.ledger.of_kind("outcome")[before:]]
            assert made == statuses, operation
            assert set(gives) <= set(run.facts())
        assert run.ledger.unsettled() == []
        assert len(clients("kms").list_keys()["Keys"]) == 1
        last = run.ledger.of_kind("outcome")
        (role,) = (one for one in last if one.get("code") == "EntityAlreadyExists")
        assert (role["status"], role["found"]) == ("done", "GetRole")


@pytest.mark.e2e
def test_a_token_is_the_same_until_the_call_is_answered(
    make_run: Callable[..., Run], clients: Clients
) -> None:
    """So AWS knows a call that another process has sent; and the next one is a new one."""
    sent: list[str] = []
    run = make_run(run_id="token")
    given = {**World(clients, "token-workflow").workflow(), "tags": {"keyrunbook:run": "token"}}
    change = Change("imagebuilder", "create_workflow", given, why="x", undo="x")

    def note(params: dict[str, Any], **_: Any) -> None:
        sent.append(json.loads(params["body"])["clientToken"])

    def die(**_: Any) -> None:
        raise KeyboardInterrupt

    events = run.clients.once("imagebuilder").meta.events
    events.register("before-call.imagebuilder.CreateWorkflow", note)
    events.register("before-send.imagebuilder.CreateWorkflow", die)
    with pytest.raises(KeyboardInterrupt):
        mutate.apply(run, Plan(STEP, (change,)))
    again = make_run(run_id="token")
    assert again.clients is not run.clients
    events = again.clients.once("imagebuilder").meta.events
    events.register("before-call.imagebuilder.CreateWorkflow", note, unique_id="note")
    mutate.apply(again, Plan(STEP, (change,)))
    again.clients("imagebuilder").delete_workflow(
        workflowBuildVersionArn=clients("imagebuilder").list_workflow_build_versions(
            workflowVersionArn=f"arn:aws:imagebuilder:us-west-2:{ACCOUNT}:"
            "workflow/build/token-workflow/1.0.0"
        )["workflowSummaryList"][0]["arn"]
    )
    mutate.apply(again, Plan(STEP, (change,)))
    events.unregister("before-call.imagebuilder.CreateWorkflow", unique_id="note")
    assert sent[0] == sent[1] != sent[2]
    assert all(len(token) == 36 for token in sent)
