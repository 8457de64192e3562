"""The whole way of the proof: real calls, the records they leave, look-up, verdict."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from keyrunbook.aws.clients import Clients
from keyrunbook.aws.lookup import LookupSource, limiter_for
from keyrunbook.parameters import Parameters, workflow_document
from keyrunbook.proof import DECRYPT, GENERATE, Claim, Need, Outcome, Read, prove, spans_for

pytestmark = pytest.mark.e2e
NAMES = (f"proof-{n}" for n in itertools.count())

MakeWorkflow = Callable[..., str]


@pytest.fixture
def key(clients: Clients) -> str:
    return str(clients("kms").create_key()["KeyMetadata"]["Arn"])


@pytest.fixture
def make(clients: Clients) -> MakeWorkflow:
    """Makes a build of a workflow: CreateWorkflow with these parameters, its ARN."""

    def make(**given: Any) -> str:
        values = {
            "name": next(NAMES),
            "semanticVersion": "1.0.0",
            "type": "BUILD",
            "data": workflow_document(Parameters()),
            **given,
        }
        answer = clients("imagebuilder").create_workflow(**values)
        return str(answer["workflowBuildVersionArn"])

    return make


def claimed(clients: Clients, build: str, key: str, **changes: Any) -> Claim:
    """Read the build, as a prover does, and claim that it is under `key`."""
    since = clients.now()
    answer = clients("imagebuilder").get_workflow(workflowBuildVersionArn=build)
    workflow = answer["workflow"]
    read = Read(
        since,
        clients.now(),
        clients.identity.arn,
        answer["ResponseMetadata"]["RequestId"],
    )
    values: dict[str, Any] = {
        "workflow_build_arn": build,
        "key_arn": key,
        "created": datetime.fromisoformat(workflow["dateCreated"]),
        "account": clients.identity.account,
        "region": clients.region,
        "kms_key_id": workflow.get("kmsKeyId"),
        "prover_reads": (read,),
    }
    return Claim(**{**values, **changes})


def judge(clients: Clients, claim: Claim, directory: Path) -> Any:
    limiter = limiter_for(
        claim.account,
        claim.region,
        endpoint_url=clients.endpoint,
        directory=directory / "run",
    )
    source = LookupSource(
        clients("cloudtrail"), claim.account, claim.region, limiter, clock=clients.now
    )
    found = source.search(spans_for(claim))
    return prove(found.records, claim, found.searched)


def test_a_workflow_under_its_key_is_proved(
    clients: Clients, key: str, make: MakeWorkflow, tmp_path: Path
) -> None:
    claim = claimed(clients, make(kmsKeyId=key), key)
    verdict = judge(clients, claim, tmp_path)
    assert verdict.outcome is Outcome.PROVED, verdict.missing
    assert [record.name for record in verdict.records] == [GENERATE, DECRYPT]
    assert {record.principal_arn for record in verdict.records} == {clients.identity.arn}
    assert verdict.searched.complete


def test_a_workflow_without_a_key_is_refuted(
    clients: Clients, key: str, make: MakeWorkflow, tmp_path: Path
) -> None:
    verdict = judge(clients, claimed(clients, make(), key), tmp_path)
    assert verdict.outcome is Outcome.REFUTED
    assert "names no key" in verdict.readable.reason


def test_a_workflow_under_another_key_is_refuted_by_its_records_alone(
    clients: Clients, key: str, make: MakeWorkflow, tmp_path: Path
) -> None:
    """As if GetWorkflow named an alias that has moved since."""
    other = str(clients("kms").create_key()["KeyMetadata"]["Arn"])
    alias = key.split(":key/")[0] + ":alias/moved"
    claim = claimed(clients, make(kmsKeyId=other), key, kms_key_id=alias)
    verdict = judge(clients, claim, tmp_path)
    assert verdict.outcome is Outcome.REFUTED
    assert other in verdict.encrypted.reason


def test_a_script_with_the_same_context_proves_nothing(
    clients: Clients, key: str, make: MakeWorkflow, tmp_path: Path
) -> None:
    build = make()
    claim = claimed(clients, build, key, kms_key_id=key)
    kms = clients("kms")
    context = {"aws:imagebuilder:arn": claim.context_arn, "aws-crypto-public-key": "forged"}
    made = kms.generate_data_key(KeyId=key, KeySpec="AES_256", EncryptionContext=context)
    kms.decrypt(CiphertextBlob=made["CiphertextBlob"], EncryptionContext=context)
    verdict = judge(clients, claim, tmp_path)
    assert verdict.outcome is Outcome.NOT_YET
    reasons = [item.reason for item in verdict.rejected if item.record.key_arns == (key,)]
    assert reasons == ["not invoked by Image Builder, but by no AWS service"] * 2


def test_two_builds_read_at_the_same_time_are_not_told_apart(
    clients: Clients, key: str, make: MakeWorkflow, tmp_path: Path
) -> None:
    """Both are of one version, whose context they share: only a read of its own tells one."""
    first = make(kmsKeyId=key, name="twice")
    second = make(kmsKeyId=key, name="twice", description="another")
    assert (first.rsplit("/")[-1], second.rsplit("/")[-1]) == ("1", "2")
    clients("imagebuilder").get_workflow(workflowBuildVersionArn=second)
    verdict = judge(clients, claimed(clients, first, key), tmp_path)
    assert verdict.outcome is Outcome.NOT_YET
    assert verdict.needs == {Need.READ_AGAIN}
