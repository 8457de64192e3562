"""Revoking and restoring on a real sandbox: every path, others' changes, a crash, approval."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from jobs import Job
from keyrunbook import policies
from keyrunbook.access import OPERATOR, ROLE
from keyrunbook.aws import approval
from keyrunbook.aws.clients import Clients
from keyrunbook.cli import runbook
from keyrunbook.errors import ApprovalRequired, RunbookError, StepFailed
from keyrunbook.records import Record, parse_record
from keyrunbook.sandboxes import Handoff, Sandbox
from keyrunbook.session import Run
from keyrunbook.show.tables import applied_table, run_plan_table
from keyrunbook.steps import builds, events, inventory, revoke_access
from keyrunbook.steps.builds import Seen
from keyrunbook.steps.planning import plan_steps

NOTEBOOK = Path(__file__).parents[3] / "notebooks" / "05_revoke_access.ipynb"
WIDE = {"Effect": "Allow", "Action": "kms:*", "Resource": "*"}
CONTEXT = {"EncryptionContextSubset": {"team": "images"}}


def attach(aws: Clients, role: str) -> None:
    """Others let the role do everything with every key."""
    document = json.dumps({"Version": "2012-10-17", "Statement": [WIDE]})
    arn = aws("iam").create_policy(PolicyName=f"{role}-wide", PolicyDocument=document)
    aws("iam").attach_role_policy(RoleName=role, PolicyArn=arn["Policy"]["Arn"])


def revoke(run: Run) -> None:
    revoke_access.apply(run, revoke_access.plan(revoke_access.observe(run), run.parameters))


def restore(run: Run) -> None:
    revoke_access.give_back(run, revoke_access.restoration(run))


def role_rows(run: Run) -> set[str]:
    """The decisions on the role's use of workflows."""
    return {
        one.outcome.value
        for one in revoke_access.who_may(run, "revoked").cells
        if one.principal == ROLE and one.wanted
    }


def text_of(aws: Clients, run: Run) -> str:
    key_arn = run.facts()["key_arn"]
    return str(aws("kms").get_key_policy(KeyId=key_arn, PolicyName="default")["Policy"])


def add_theirs(aws: Clients, run: Run, sid: str, principal: str) -> None:
    """Somebody else adds a statement to the key policy, in a layout of their own."""
    document = json.loads(text_of(aws, run))
    document["Statement"].insert(
        0,
        {"Sid": sid, "Effect": "Allow", "Principal": {"AWS": principal},
         "Action": "kms:DescribeKey", "Resource": "*"},
    )  # fmt: skip
    text = json.dumps(document, indent=7)
    aws("kms").put_key_policy(KeyId=run.facts()["key_arn"], PolicyName="default", Policy=text)


@pytest.mark.e2e
def test_a_deny_closes_what_removing_does_not_and_the_policy_comes_back_byte_for_byte(
    job: Job, aws: Clients
) -> None:
    facts = job.through("03").facts()
    attach(aws, facts["role_name"])
    run = job.open("05", revoke_by="deny")
    add_theirs(aws, run, "Theirs", facts["role_arn"])
    before = text_of(aws, run)
    digest = approval.store(run, plan_steps(run, [run.step]))
    run = job.open("05", revoke_by="deny", approve=digest)  # and nothing else is applied
    revoke_access.who_may(run, "before")
    assert {row[2] for row in revoke_access.open_paths(run).rows} == {"✓ closed"}
    revoke(run)
    assert role_rows(run) == {"DENIED"}
    assert revoke_access.build(run, "both").decrypted is False
    restore(run)
    assert text_of(aws, run) == before
    found = {one.statement: one for one in revoke_access.verify(run)}
    assert found["What the revocation took is given back"].evidence.startswith(
        "the key policy is as it was, byte for byte"
    )
    assert found["The operator, an administrator of the key, keeps its access"].status == "pass"
    hasty = found["With one of two paths closed, builds still decrypt"]
    assert hasty.status == "not checked"


@pytest.mark.e2e
def test_a_grant_of_the_role_is_taken_and_given_back(job: Job, aws: Clients) -> None:
    facts, kms = job.through("03").facts(), aws("kms")
    for operations, constraints in (
        (["Decrypt"], {}),
        (["DescribeKey"], {}),
        (["Decrypt"], CONTEXT),
    ):
        kms.create_grant(
            KeyId=facts["key_arn"],
            GranteePrincipal=facts["role_arn"],
            Operations=operations,
            **({"Constraints": constraints} if constraints else {}),
        )

    def grants() -> list[Any]:
        listed = kms.list_grants(KeyId=facts["key_arn"])["Grants"]
        found = [[one["Operations"], one.get("Constraints", {})] for one in listed]
        return sorted(found, key=str)

    before = grants()
    run = job.open("05")
    revoke(run)
    assert grants() == [[["DescribeKey"], {}]]
    assert role_rows(run) == {"DENIED"}
    restore(run)
    assert grants() == before
    assert not revoke_access.is_open(run)


@pytest.mark.e2e
def test_others_statements_for_this_role_go_on_request_and_come_back(
    job: Job, aws: Clients
) -> None:
    facts = job.through("03").facts()
    run = job.open("05")
    document = json.loads(text_of(aws, run))
    document["Statement"].append(
        {**policies.execution_role_statement("x", facts["role_arn"], "aws", run.identity.account),
         "Sid": "Allow access to build images with encrypted workflow"},
    )  # fmt: skip
    kms = aws("kms")
    kms.put_key_policy(KeyId=facts["key_arn"], PolicyName="default", Policy=json.dumps(document))
    stays = [row[1] for row in revoke_access.open_paths(run).rows if row[2] != "✓ closed"]
    assert stays == ["Allow access to build images with encrypted workflow"]
    run = job.open("05", revoke_others=True)
    before = text_of(aws, run)
    revoke(run)
    assert role_rows(run) == {"DENIED"}
    assert revoke_access.holds_of_others(run)
    restore(run)
    assert text_of(aws, run) == before


@pytest.mark.e2e
def test_what_somebody_changed_meanwhile_stays(job: Job, aws: Clients) -> None:
    facts = job.through("03").facts()
    run = job.open("05")
    revoke(run)
    add_theirs(aws, run, "Meanwhile", facts["role_arn"])
    shown = revoke_access.changed_meanwhile(run)
    assert "Meanwhile" in shown.rows[0][1]
    (change, _) = revoke_access.restoration(run)
    assert "somebody changed the key policy meanwhile" in change.why
    restore(run)
    sids = policies.sids(json.loads(text_of(aws, run)))
    assert {"Meanwhile", policies.sid("WorkflowKeyUse", run.run_id)} <= set(sids)
    given = revoke_access.given_back(run)
    assert (given.status, "Meanwhile" in given.evidence) == ("pass", True)


@pytest.mark.e2e
@pytest.mark.parametrize("closed", [1, 2])
def test_after_a_crash_half_way_what_was_taken_is_given_back_first(
    closed: int, job: Job, aws: Clients
) -> None:
    run = job.through("03")
    before = text_of(aws, run)
    first = job.open("05")
    revoke_access.apply(first, revoke_access.first_path(_whole(first)))
    if closed == 2:
        revoke(job.open("05"))
    again = job.open("05")  # another process: only the ledger knows
    assert revoke_access.is_open(again)
    calls = [change.call for change in revoke_access.unfinished(again)]
    assert calls == ["kms:PutKeyPolicy", "iam:PutRolePolicy"][:closed]
    applied = revoke_access.give_back(again, revoke_access.unfinished(again))
    (said,) = applied.notes
    assert "that this step began at" in said
    assert said in applied_table(applied).note
    assert text_of(aws, again) == before
    assert not revoke_access.is_open(again)
    assert [change.call for change in revoke_access.unfinished(again)] == []
    revoke(again)
    assert role_rows(again) == {"DENIED"}
    restore(again)
    assert text_of(aws, again) == before


@pytest.mark.e2e
def test_what_others_did_between_two_revocations_comes_through(job: Job, aws: Clients) -> None:
    facts, kms = job.through("03").facts(), aws("kms")
    denied = job.open("05", revoke_by="deny")
    revoke(denied)
    add_theirs(aws, denied, "Between", facts["role_arn"])
    kms.create_grant(
        KeyId=facts["key_arn"], GranteePrincipal=facts["role_arn"], Operations=["Decrypt"]
    )
    run = job.open("05")
    revoke(run)
    assert kms.list_grants(KeyId=facts["key_arn"])["Grants"] == []
    assert "Between" in revoke_access.changed_meanwhile(run).rows[0][1]
    restore(run)
    sids = policies.sids(json.loads(text_of(aws, run)))
    ours = [policies.sid(word, run.run_id) for word in ("WorkflowKeyUse", "WorkflowKeyRevoked")]
    assert {"Between", ours[0]} <= set(sids)
    assert ours[1] not in sids
    (grant,) = kms.list_grants(KeyId=facts["key_arn"])["Grants"]
    assert grant["Operations"] == ["Decrypt"]
    assert not revoke_access.is_open(run)
    assert revoke_access.given_back(run).status == "pass"


@pytest.mark.e2e
def test_a_statement_of_others_without_a_sid_is_held_and_stops_the_clean_up_until_restored(
    job: Job, aws: Clients
) -> None:
    job.given["key_arn"] = aws("kms").create_key()["KeyMetadata"]["Arn"]
    facts = job.through("03").facts()
    run = job.open("05", revoke_others=True)
    document = json.loads(text_of(aws, run))
    theirs = {"Effect": "Allow", "Principal": {"AWS": facts["role_arn"]},
              "Action": "kms:Decrypt", "Resource": "*"}  # fmt: skip
    document["Statement"].append(theirs)
    key = {"KeyId": facts["key_arn"], "PolicyName": "default"}
    aws("kms").put_key_policy(**key, Policy=json.dumps(document))
    before = text_of(aws, run)
    revoke(run)
    with pytest.raises(StepFailed, match="holds back what others had"):
        job.do("06")
    # A run that was cleaned up all the same gives back what was theirs, and no more.
    job.open("06").done()
    found = command(job, "restore")
    assert found.exit_code == 0, found.output
    left = json.loads(text_of(aws, run))["Statement"]
    ours = policies.sid("WorkflowKeyUse", run.run_id)
    assert left == [one for one in json.loads(before)["Statement"] if one.get("Sid") != ours]
    role = {"RoleName": facts["role_name"]}
    assert aws("iam").list_role_policies(**role)["PolicyNames"] == []


def command(job: Job, *words: str) -> Result:
    name, *more = words
    outputs = ["--outputs", str(job.outputs)]
    return CliRunner().invoke(runbook, [name, job.given["run_id"], *outputs, *more])


@pytest.mark.e2e
def test_with_a_principal_that_is_gone_in_the_key_policy_the_other_paths_are_closed(
    job: Job, aws: Clients
) -> None:
    facts, iam = job.through("03").facts(), aws("iam")
    trust = policies.to_text(policies.trust_policy(aws.identity.account))
    gone = {"RoleName": f"Gone{job.given['run_id']}"}
    arn = iam.create_role(**gone, AssumeRolePolicyDocument=trust)["Role"]["Arn"]
    run = job.open("05", settle_seconds=0)
    add_theirs(aws, run, "Left", arn)
    iam.delete_role(**gone)
    plan = _whole(run)
    assert "its statement 'Left' names AROA" in plan.changes[-1].why
    with pytest.raises(RunbookError, match="invalid principals"):
        revoke_access.apply(run, plan)
    role = {"RoleName": facts["role_name"]}
    assert iam.list_role_policies(**role)["PolicyNames"] == []
    assert revoke_access.is_open(run)


@pytest.mark.e2e
def test_an_attempt_that_was_refused_leaves_no_word_of_a_revocation(on_aws_job: Job) -> None:
    run = on_aws_job.open("05")
    with pytest.raises(ApprovalRequired):
        revoke(run)
    assert run.ledger.of_kind("revocation") == []


@pytest.mark.e2e
def test_after_an_approved_revocation_others_changes_have_a_way_on(
    on_aws_job: Job, aws: Clients
) -> None:
    """What is offered is what is left, for the notebook from its top, and for its last cells."""
    run = on_aws_job.open("05")
    approved = approval.store(run, plan_steps(run, [run.step]))
    run = on_aws_job.open("05", approve=approved)
    revoke(run)
    add_theirs(aws, run, "Meanwhile", run.facts()["role_arn"])
    with pytest.raises(ApprovalRequired, match="Meanwhile"):
        restore(run)
    offered = run.ledger.of_kind("plan")[-1]["digest"]
    assert offered != approved
    run = on_aws_job.open("05", approve=offered)
    assert revoke_access.unfinished(run).changes == revoke_access.restoration(run).changes
    restore(run)
    assert revoke_access.given_back(run).status == "pass"
    assert "Meanwhile" in policies.sids(json.loads(text_of(aws, run)))
    # From its top: what is approved is taken again, and given back again.
    revoke(run)
    restore(run)
    assert not revoke_access.is_open(run)


def _whole(run: Run) -> Any:
    return revoke_access.plan(revoke_access.observe(run), run.parameters)


@pytest.mark.e2e
def test_the_inventory_names_what_is_under_the_key_and_what_is_not_known(
    job: Job, aws: Clients
) -> None:
    run, builder = job.through("03"), aws("imagebuilder")
    facts = run.facts()
    name = job.given["workflow_name"]
    document = builder.get_workflow(workflowBuildVersionArn=facts["workflow_arn"])["workflow"][
        "data"
    ]

    def make(word: str, **under: str) -> str:
        answer = builder.create_workflow(
            name=f"{name}-{word}", semanticVersion="1.0.0", type="BUILD", data=document, **under
        )
        return str(answer["workflowBuildVersionArn"])

    other = aws("kms").create_key()["KeyMetadata"]["Arn"]
    under, beside, lost = (
        make("under", kmsKeyId=facts["key_arn"]), make("beside"), make("lost", kmsKeyId=other)
    )  # fmt: skip
    elsewhere = make("elsewhere", kmsKeyId=aws("kms").create_key()["KeyMetadata"]["Arn"])
    aws("kms").disable_key(KeyId=other)
    found = inventory.workflows(job.open("05"))
    assert set(found.under) == {facts["workflow_arn"], under}
    unknown = dict(found.not_known)
    assert lost in unknown
    assert not {beside, elsewhere} & unknown.keys()
    shown = found.table()
    assert "These workflows become unreadable to builds" in shown.note
    assert under in shown.note
    assert found.finding().status == "not checked"
    ways = inventory.ways(job.open("05"))
    rows = [(row[0], row[1], row[3]) for row in ways.rows]
    assert ("own policy, by delegation to the account", ROLE, "✓ open") in rows
    assert ("own policy, by delegation to the account", OPERATOR, "✓ open") in rows
    assert any("not enumerated" in row[2] for row in rows)
    # Nobody else's clean-up on this sandbox finds a workflow that it cannot read.
    builder.delete_workflow(workflowBuildVersionArn=lost)


# On AWS: what was approved, and nothing else


@pytest.fixture
def on_aws(on_sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Handoff:
    """The target aws, which endpoint variables send to a sandbox."""
    handoff = on_sandbox.ready()
    monkeypatch.setenv("AWS_ENDPOINT_URL", handoff.endpoint_url)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", handoff.access_key_id)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", handoff.secret_access_key)
    monkeypatch.setitem(events.INTERVAL_S, "aws", 0.2)
    return handoff


@pytest.fixture
def on_aws_job(on_aws: Handoff, new_job: Callable[..., Job], aws: Clients) -> Job:
    """A job on the target aws whose steps 01 to 03 are done."""
    word = new_job().given["run_id"]
    trust = policies.to_text(policies.trust_policy(aws.identity.account))
    aws("iam").create_role(RoleName=f"Role{word}", AssumeRolePolicyDocument=trust)
    job = new_job(target="aws", region="us-west-2")
    for number in ("01", "02", "03"):
        run = job.open(number)
        job.do(number, approve=approval.store(run, plan_steps(run, [run.step])))
    return job


@pytest.fixture
def aws_job(on_aws_job: Job, aws: Clients) -> Job:
    """The same with what a build is made of."""
    job, word = on_aws_job, on_aws_job.given["run_id"]
    made_of = f"arn:aws:imagebuilder:us-west-2:{aws.identity.account}"
    job.given |= {
        "run_build": True,
        "build_recipe": f"{made_of}:image-recipe/recipe-{word}/1.0.0",
        "build_infrastructure": f"{made_of}:infrastructure-configuration/machines",
    }
    return job


def cells() -> Iterator[str]:
    """The code of notebook 05, without its parameters and the opening of the run."""
    for cell in json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]:
        code = "".join(cell["source"])
        if cell["cell_type"] == "code" and not code.startswith(
            ("# Parameters", "from keyrunbook.se")
        ):
            yield code


def namespace(run: Run) -> dict[str, Any]:
    return {"run": run, "step": revoke_access, "inventory": inventory}


@pytest.mark.e2e
def test_on_aws_the_cells_of_05_apply_exactly_what_was_approved(aws_job: Job, aws: Clients) -> None:
    run = aws_job.open("05")
    before = text_of(aws, run)
    with pytest.raises(ApprovalRequired):
        revoke(run)
    steps = [run.step, "06_clean_up"]
    planned = plan_steps(run, steps)
    digest = approval.store(run, planned)
    run = aws_job.open("05", approve=digest)
    names = namespace(run)
    for code in cells():
        exec(code, names)
    found = {one.statement: one for one in revoke_access.verify(run)}
    assert [one for one in found.values() if one.status == "fail"] == []
    assert found["With every path closed, builds cannot decrypt"].status == "pass"
    assert found["Access is given back: builds decrypt again"].status == "pass"
    assert text_of(aws, run) == before
    made = [entry["call"] for entry in run.ledger.of_kind("intent", run.step)]
    # The sandbox's builds end by themselves: there was none to cancel.
    approved = [one.call for one in planned.plans[0]]
    assert made == [call for call in approved if call != "imagebuilder:CancelImageCreation"]
    assert approved.count("imagebuilder:CancelImageCreation") == 4
    note = run_plan_table(planned).note
    assert "EC2's prices for instance, volumes and snapshots while it builds" in note
    image = aws("imagebuilder").get_image(imageBuildVersionArn=run.facts()["image_arn"])["image"]
    assert image["tags"]["keyrunbook:run"] == run.run_id
    # The same approval holds for the clean-up, which removes the four builds' images too.
    cleaned = aws_job.do("06", approve=digest)
    assert [one for one in cleaned if one.status == "fail"] == []
    calls = [entry["call"] for entry in run.ledger.of_kind("intent", "06_clean_up")]
    assert calls.count("imagebuilder:DeleteImage") == 4


@pytest.mark.e2e
def test_on_aws_a_crash_half_way_ends_well_under_the_same_approval(
    aws_job: Job, aws: Clients
) -> None:
    aws_job.given["run_build"] = None
    for name in ("build_recipe", "build_infrastructure"):
        del aws_job.given[name]
    run = aws_job.open("05")
    before = text_of(aws, run)
    digest = approval.store(run, plan_steps(run, [run.step]))
    run = aws_job.open("05", approve=digest)
    revoke_access.apply(run, revoke_access.first_path(_whole(run)))
    run = aws_job.open("05", approve=digest)
    names = namespace(run)
    for code in cells():
        exec(code, names)
    assert text_of(aws, run) == before
    builds_made = {one["reason"] for one in run.ledger.of_kind("build")}
    assert builds_made == {"decided, not observed: see the matrix"}


# How a build on AWS came out


ROLE_ARN = "arn:aws:iam::111122223333:role/Builder"
VERSION = "arn:aws:imagebuilder:us-west-2:111122223333:workflow/build/encrypted-build/1.0.0"
FACTS = {"role_arn": ROLE_ARN, "workflow_arn": f"{VERSION}/1"}


def decrypt(context: str = f"{VERSION}/*", role: str = ROLE_ARN, **more: Any) -> Record:
    return parse_record(
        {
            "eventVersion": "1.08", "eventID": "e1", "eventTime": "2026-01-02T03:04:05Z",
            "eventSource": "kms.amazonaws.com", "eventName": "Decrypt", "awsRegion": "us-west-2",
            "userIdentity": {
                "type": "AssumedRole", "invokedBy": "imagebuilder.amazonaws.com",
                "sessionContext": {"sessionIssuer": {"arn": role}},
            },
            "requestParameters": {"encryptionContext": {"aws:imagebuilder:arn": context}},
            **more,
        }
    )  # fmt: skip


REFUSED = decrypt(errorCode="AccessDenied", requestParameters=None)
KMS_REFUSED = (
    "KMS answered AccessDeniedException: User: x is not authorized to perform: kms:Decrypt"
)


@pytest.mark.parametrize(
    ("seen", "records", "decrypted"),
    [
        pytest.param(Seen("FAILED", "no idea"), [], None, id="a failure alone says nothing"),
        pytest.param(Seen("FAILED", KMS_REFUSED), [], False, id="the reason names KMS's refusal"),
        pytest.param(Seen("FAILED", "s3: AccessDenied"), [], None, id="another service's refusal"),
        pytest.param(Seen("FAILED", "no idea"), [REFUSED], False, id="the role's refused Decrypt"),
        pytest.param(Seen("FAILED", "later"), [decrypt()], True, id="it failed of something else"),
        pytest.param(Seen("CANCELLED", ""), [], None, id="cancelled alone says nothing"),
        pytest.param(Seen("BUILDING", "", begun=True), [], None, id="begun is not decrypted"),
        pytest.param(Seen("BUILDING", "", steps_run=True), [], True, id="steps ran"),
        pytest.param(Seen("CANCELLED", ""), [decrypt()], True, id="the role's Decrypt"),
        pytest.param(Seen("CANCELLED", ""), [decrypt(role="other")], None, id="another role"),
        pytest.param(Seen("CANCELLED", ""), [decrypt(VERSION + "1/*")], None, id="another one"),
        pytest.param(Seen("CANCELLED", ""), [decrypt(errorCode="DisabledException")], None,
                     id="a Decrypt that failed of something else"),
    ],
)  # fmt: skip
def test_how_a_build_is_judged(seen: Seen, records: list[Record], decrypted: bool | None) -> None:
    outcome, why = builds.judged(seen, records, FACTS)
    assert outcome is decrypted
    assert seen.status in why
    assert seen.reason in why
    assert ("not known" in why) is (decrypted is None)
