"""A run that may only read, and that everything that changes AWS is sent from one place."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from jobs import Job, module_of
from keyrunbook.aws.clients import Clients
from keyrunbook.aws.reading import reads
from keyrunbook.cli import _main
from keyrunbook.errors import ApprovalRequired, ParameterError, ReadOnly
from keyrunbook.findings import Finding
from keyrunbook.sandboxes import Handoff, Sandbox
from test_operator_permissions import complaints

pytestmark = pytest.mark.e2e


class Sent:
    """What the clients of this process send that does more than read, and which file asked."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, str]] = []

    def note(self, model: Any, **_: Any) -> None:
        service = model.service_model.service_name
        if not reads(service, model.name):
            ours = (one.filename for one in inspect.stack() if "/keyrunbook/" in one.filename)
            asked = next(name for name in ours if not name.startswith(str(Path(__file__).parent)))
            self.calls.append((f"{service}:{model.name}", asked.partition("/keyrunbook/")[2]))


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> Sent:
    found, make = Sent(), Clients._client

    def made(self: Clients, *place: Any, **more: Any) -> Any:
        client = make(self, *place, **more)
        client.meta.events.register("before-call", found.note, unique_id="sent")
        return client

    monkeypatch.setattr(Clients, "_client", made)
    return found


def test_whatever_changes_aws_is_sent_by_one_module(job: Job, sent: Sent) -> None:
    """A whole run, all seven steps: every operation that does more than read is asked for there."""
    assert [one for one in complaints(job) if not one.startswith("not checked")] == []
    assert {asked for _, asked in sent.calls} == {"aws/mutate.py"}
    assert {"kms:CreateKey", "imagebuilder:CreateWorkflow", "kms:ScheduleKeyDeletion"} <= {
        call for call, _ in sent.calls
    }


def test_a_run_that_may_only_read_says_what_it_would_change(job: Job, sent: Sent) -> None:
    job.do("00", read_only=True)
    for number in ("01", "02", "03"):
        with pytest.raises(ReadOnly, match="would change AWS, and the run may only read") as caught:
            job.do(number, read_only=True)
        assert caught.value.exit_status == 4
        assert sent.calls == []
        assert job.open(number).ledger.of_kind("intent", job.open(number).step) == []
        assert {
            "01": "  kms:CreateKey: ",
            "02": "  kms:PutKeyPolicy: ",
            "03": "  imagebuilder:CreateWorkflow: ",
        }[number] in caught.value.what
        if number == "03":  # a dry run is not reading either
            run, step = job.open(number, read_only=True), module_of(number)
            rehearsed = step.rehearse(run, step.plan(step.observe(run), run.parameters))
            assert [one.status for one in rehearsed] == ["not checked"]
            assert sent.calls == []
        job.do(number)
        sent.calls.clear()


def test_a_run_that_may_only_read_goes_through_what_is_already_so(job: Job, sent: Sent) -> None:
    """An audit of what another run made: every step to the verdict, and nothing is sent."""
    job.through("03")
    sent.calls.clear()
    for number in ("00", "01", "02", "03"):
        assert [one for one in job.do(number, read_only=True) if _is_wrong(one)] == []
    assert job.do("04", read_only=True).outcome.value == "PROVED"
    assert sent.calls == []
    with pytest.raises(ReadOnly, match="06_clean_up would change AWS") as caught:
        job.do("06", read_only=True)
    assert "kms:ScheduleKeyDeletion" in caught.value.what


def _is_wrong(finding: Finding) -> bool:
    return finding.status == "fail"


# The command


def test_the_command_stops_where_something_would_have_to_change(
    on_sandbox: Sandbox, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["run", "--read-only", "--steps", "01", "--run-id", "audit", "--outputs", str(tmp_path)]
    assert _main([*words, "-p", "key_alias", "alias/audit"]) == 4
    told = capsys.readouterr().out
    assert "kms:CreateKey" in told
    assert "read_only" in told
    words.remove("--read-only")
    assert _main([*words, "-p", "key_alias", "alias/audit"]) == 0
    # And once it is so, there is nothing to say.
    assert _main([*words, "--read-only", "-p", "key_alias", "alias/audit"]) == 0


# On AWS, and where the parameters say another place


@pytest.fixture
def on_aws(on_sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Handoff:
    """The target aws, which endpoint variables send to a sandbox."""
    handoff = on_sandbox.ready()
    monkeypatch.setenv("AWS_ENDPOINT_URL", handoff.endpoint_url)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", handoff.access_key_id)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", handoff.secret_access_key)
    return handoff


def test_on_aws_it_asks_for_no_approval(on_aws: Handoff, new_job: Callable[..., Job]) -> None:
    job = new_job(target="aws", region="us-west-2", account=on_aws.account)
    job.do("00", read_only=True)
    with pytest.raises(ReadOnly):
        job.do("01", read_only=True)
    with pytest.raises(ApprovalRequired):
        job.do("01")


@pytest.mark.parametrize("target", ["aws", "sandbox"])
def test_another_account_is_refused_before_anything_is_made(
    on_aws: Handoff, new_job: Callable[..., Job], tmp_path: Path, target: str
) -> None:
    job = new_job(target=target, region="us-west-2")
    with pytest.raises(ParameterError, match="is for the account 444455556666") as caught:
        job.open("00", account="444455556666")
    assert f"is of the account {on_aws.account}" in caught.value.what
    role = "arn:aws:iam::444455556666:role/R"
    with pytest.raises(ParameterError, match="is of the account 444455556666") as caught:
        job.open("01", execution_role=role)
    assert on_aws.account in caught.value.what
    assert list(tmp_path.iterdir()) == []


def test_a_key_of_another_region_is_refused_and_one_of_another_account_is_not(
    on_aws: Handoff, new_job: Callable[..., Job], tmp_path: Path
) -> None:
    job = new_job(target="aws", region="us-west-2")
    key = "arn:aws:kms:eu-central-1:444455556666:key/1234abcd-12ab-34cd-56ef-1234567890ab"
    with pytest.raises(ParameterError, match="is in eu-central-1; the run works in us-west-2"):
        job.open("01", key_arn=key)
    assert list(tmp_path.iterdir()) == []
    here = key.replace("eu-central-1", "us-west-2")
    assert job.open("01", key_arn=here).parameters.key_arn == here
