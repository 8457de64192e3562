"""Each exercise is set up, tried wrongly, told apart, and solved; in accounts of one sandbox."""

from __future__ import annotations

import json
import os
import re
import stat
import subprocess
import sys
from base64 import b64decode
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import nbformat
import pytest
from botocore.exceptions import ClientError
from keyrunbook import policies
from keyrunbook.errors import ParameterError
from keyrunbook.execution.runner import notebooks_dir
from keyrunbook.exercises import LESSONS, open_exercise, stage
from keyrunbook.exercises.account import Account
from keyrunbook.exercises.exercise import Checked, Exercise, solution_text
from keyrunbook.sandboxes import HANDED_OVER, Sandbox, start_private
from keyrunbook.show.widgets import FRONT_END

pytestmark = pytest.mark.e2e

Act = Callable[[Exercise[Any]], object]


@pytest.fixture(scope="module")
def own() -> Iterator[Sandbox]:
    with start_private() as started:
        started.ready()
        yield started


@pytest.fixture
def on_sandbox(own: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Sandbox:
    monkeypatch.setenv(HANDED_OVER, str(own.path))
    return own


def fails(call: Callable[..., object], **given: Any) -> str:
    """The code by which AWS refuses a call that must be refused."""
    with pytest.raises(ClientError) as refused:
        call(**given)
    return str(refused.value.response["Error"]["Code"])


# --- wrong attempts ---------------------------------------------------------------------------


def admit(*extra: dict[str, Any], condition: bool = True) -> Act:
    """Add statements to the key's policy; without any, one for the execution role."""

    def act(one: Exercise[Any]) -> None:
        use = stage.use_by(one.account, one.facts.role_arn)
        if not condition:
            del use["Condition"]
        policy = stage.key_policy(one.account, one.facts.key_arn)
        stage.put_key_policy(
            one.account, one.facts.key_arn, *policy["Statement"], *(extra or (use,))
        )

    return act


def delegate(one: Exercise[Any]) -> None:
    admit(stage.delegation(one.account))(one)


def more_for_the_role(one: Exercise[Any]) -> None:
    allow = {"Effect": "Allow", "Action": "kms:*", "Resource": "*"}
    stage.put_role_policy(one.account, stage.ROLE, allow)


def decrypt(who: str, context: str) -> Act:
    def act(one: Exercise[Any]) -> None:
        contexts = {"wiki": one.facts.wiki_context, "true": one.facts.true_context, "none": {}}
        call = partial(
            one.client("kms", who).decrypt,
            CiphertextBlob=b64decode(one.facts.ciphertext),
            EncryptionContext=contexts[context],
        )
        if context == "true":
            call()
        else:
            fails(call)

    return act


def more_for_the_reader(one: Exercise[Any]) -> None:
    reader = f"arn:{one.account.partition}:iam::{one.account.number}:user/{one.facts.reader}"
    principal = {"AWS": reader}
    allow = {"Effect": "Allow", "Principal": principal, "Action": "kms:*", "Resource": "*"}
    stage.put_key_policy(
        one.account, one.facts.key_arn, stage.delegation(one.account), {**allow, "Sid": "Reader"}
    )
    decrypt(one.facts.reader, "wiki")(one)


def put(edit: Callable[[list[dict[str, Any]]], object], **more: Any) -> Act:
    """Put the proposed policy, edited."""

    def act(one: Exercise[Any]) -> None:
        policy = json.loads(one.facts.proposed)
        edit(policy["Statement"])
        one.client("kms").put_key_policy(
            KeyId=one.facts.key_arn, PolicyName="default", Policy=json.dumps(policy), **more
        )

    return act


def as_proposed(one: Exercise[Any]) -> None:
    kms, facts = one.client("kms"), one.facts
    given = {"KeyId": facts.key_arn, "PolicyName": "default", "Policy": facts.proposed}
    assert fails(kms.put_key_policy, **given) == "MalformedPolicyDocumentException"


def for_everything(statements: list[dict[str, Any]]) -> None:
    del statements[0]["Condition"]
    statements[1]["Resource"] = "*"


def beside(statements: list[dict[str, Any]]) -> None:
    statements.append({**statements[1], "Sid": "Mended", "Resource": "*"})


BYPASS = {"BypassPolicyLockoutSafetyCheck": True}


def without_role_policy(one: Exercise[Any]) -> None:
    one.client("iam").delete_role_policy(RoleName=one.facts.role_name, PolicyName="WorkflowKey")


def without_grant(one: Exercise[Any]) -> None:
    kms, key = one.client("kms"), one.facts.key_arn
    (grant,) = kms.list_grants(KeyId=key)["Grants"]
    kms.revoke_grant(KeyId=key, GrantId=grant["GrantId"])


def disable(one: Exercise[Any]) -> None:
    one.client("kms").disable_key(KeyId=one.facts.key_arn)


def no_role(one: Exercise[Any]) -> None:
    without_role_policy(one)
    one.client("iam").delete_role(RoleName=one.facts.role_name)


def untrusted(one: Exercise[Any]) -> None:
    """Image Builder cannot assume the role any more; whoever else may still use the key with it."""
    trust = policies.to_text(policies.trust_policy("999999999999"))
    one.client("iam").update_assume_role_policy(RoleName=stage.ROLE, PolicyDocument=trust)


def create_as(who: str) -> Act:
    return lambda one: stage.a_workflow(one.account.of(who), one.facts.key_arn)


def for_olga(*actions: str) -> Act:
    """Olga may use the key, also directly; then she creates a workflow."""

    def act(one: Exercise[Any]) -> None:
        statement = {"Effect": "Allow", "Action": list(actions), "Resource": one.facts.key_arn}
        one.client("iam").put_user_policy(
            UserName="Olga", PolicyName="Key", PolicyDocument=stage.text_of(statement)
        )
        create_as("Olga")(one)

    return act


def answer(event: Callable[[dict[str, Any]], bool] | None, **given: str) -> Act:
    """Answer with the first GenerateDataKey record that fits."""

    def act(one: Exercise[Any]) -> Checked:
        events = one.client("cloudtrail").lookup_events(
            LookupAttributes=[{"AttributeKey": "EventName", "AttributeValue": "GenerateDataKey"}]
        )["Events"]
        records = [json.loads(each["CloudTrailEvent"]) for each in events]
        ids = [each["eventID"] for each in records if event is not None and event(each)]
        claimed = {"key": one.facts.claimed_key} if "key" not in given else {}
        return one.answer(event=(ids or ["x"])[0], **claimed, **given)

    return act


def by_script(record: dict[str, Any]) -> bool:
    return "invokedBy" not in record["userIdentity"]


def of_another(record: dict[str, Any]) -> bool:
    return "/another/" in record["requestParameters"]["encryptionContext"]["aws:imagebuilder:arn"]


def new_key_behind_the_alias(one: Exercise[Any]) -> None:
    key = stage.a_key(one.account, stage.delegation(one.account))
    stage.may_use(one.account, key)
    one.client("kms").update_alias(AliasName="alias/golden", TargetKeyId=key)


def schedule_deletion(one: Exercise[Any]) -> None:
    one.client("kms").schedule_key_deletion(KeyId=one.facts.key_arn)


def select(*selectors: dict[str, Any], kind: str = "EventSelectors") -> Act:
    return lambda one: one.client("cloudtrail").put_event_selectors(
        TrailName=one.facts.trail, **{kind: list(selectors)}
    )


ONLY_WRITES = {"ReadWriteType": "WriteOnly", "IncludeManagementEvents": True}
ONLY_READS = {
    "FieldSelectors": [
        {"Field": "eventCategory", "Equals": ["Management"]},
        {"Field": "readOnly", "Equals": ["true"]},
    ]
}


def another_trail(one: Exercise[Any]) -> None:
    one.client("cloudtrail").create_trail(Name="second", S3BucketName=one.facts.bucket)


def alias_back(one: Exercise[Any]) -> None:
    one.client("kms").update_alias(AliasName="alias/golden", TargetKeyId=one.facts.right_key)


def role_may_use_the_wrong_key(one: Exercise[Any]) -> None:
    alias_back(one)
    stage.may_use(one.account, one.facts.wrong_key)


def without_the_new_version(one: Exercise[Any]) -> None:
    alias_back(one)
    one.client("imagebuilder").delete_workflow(workflowBuildVersionArn=f"{one.facts.new}/1")


ATTEMPTS: dict[str, list[tuple[Act, str]]] = {
    "01_one_sided_grant": [
        (more_for_the_role, "because no resource-based policy allows"),
        (admit(condition=False), "Wanted: The execution role may use the key for nothing else"),
        (delegate, "Wanted: DataTeamRole may still not use the key. So far: kms:Decrypt"),
    ],
    "02_context_letter_case": [
        (decrypt("BuildTools", "wiki"), "differs by letter case"),
        (decrypt("BuildTools", "none"), "refused as a permission (AccessDenied)"),
        (decrypt("administrator", "true"), "user/administrator has, which shows the context"),
        (more_for_the_reader, "Wanted: The key's policy is what it was. So far: it differs"),
    ],
    "03_lock_out": [
        (as_proposed, "neither the key policy nor an identity policy allows kms:Decrypt"),
        (put(lambda statements: None, **BYPASS), "you are locked out"),
        (put(for_everything), "Wanted: The execution role may use the key for nothing else"),
        (put(beside), "Wanted: Each statement of the key's policy has an effect. So far: K03"),
    ],
    "04_half_revoked": [
        (without_role_policy, "a path is still open (grant"),
        (without_grant, "a path is still open (identity policy 'WorkflowKey'"),
        (disable, "Wanted: The key is Enabled. So far: it is Disabled"),
        (no_role, "the role is gone, so nothing tells"),
        (untrusted, "it fails for another reason, and a path is still open ("),
    ],
    "05_operator_cannot_create": [
        (more_for_the_role, "the last try was refused: User: arn:aws:iam::"),
        (create_as("administrator"), "was created by user/administrator"),
        (for_olga("kms:GenerateDataKey", "kms:Decrypt"), "KMS would serve GenerateDataKey"),
        (for_olga("kms:GenerateDataKey"), "Wanted: Olga can read a workflow under the key"),
    ],
    "06_whose_data_key": [
        (answer(by_script, proves="a"), "user/NightlyScript called KMS itself"),
        (answer(of_another, proves="b"), "its context is another workflow's"),
        (answer(None, key="mine", proves="c"), "no GenerateDataKey record of the account"),
    ],
    "07_disabled_key": [
        (more_for_the_role, "more permission was not what was missing"),
        (new_key_behind_the_alias, "Wanted: alias/golden names the key"),
        (schedule_deletion, "it is PendingDeletion"),
    ],
    "08_trail_without_kms": [
        (select(ONLY_WRITES), "does not select KMS's reading management events"),
        (select(ONLY_READS, kind="AdvancedEventSelectors"), "Wanted: KMS's changes are kept"),
        (another_trail, "second does not log"),
    ],
    "09_moved_alias": [
        (alias_back, "Wanted: A build can read the workflow 1.1.0. So far: Workflow Execution"),
        (role_may_use_the_wrong_key, "Wanted: The role may not use the wrong key"),
        (without_the_new_version, "there is no build version of it"),
    ],
}


def test_each_exercise_has_wrong_attempts() -> None:
    assert {name for name, attempts in ATTEMPTS.items() if len(attempts) >= 2} == set(LESSONS)


@pytest.mark.parametrize("name", LESSONS)
def test_it_is_unsolved_told_apart_and_solved(on_sandbox: Sandbox, name: str) -> None:
    """Not yet at first; each wrong attempt has a verdict of its own; the solution solves it."""
    fresh = open_exercise(name[:2])
    assert not fresh.check().solved
    texts = []
    for act, words in ATTEMPTS[name]:
        one = open_exercise(name)
        answered = act(one)
        checked = answered if isinstance(answered, Checked) else one.check()
        assert not checked.solved
        assert words in checked.text
        texts.append(re.sub(r"\d{12}|\S*[0-9a-f]-[0-9a-f]\S*", "", checked.text))
    assert len(set(texts)) == len(texts)  # whatever the account is
    exec(solution_text(fresh.lesson), {"exercise": fresh})
    assert fresh.check().text == f"✓ Solved. {fresh.lesson.moral}"


# --- the framework -------------------------------------------------------------------------------


def test_what_is_read_out_is_short_and_the_table_has_it_all(on_sandbox: Sandbox) -> None:
    checked = open_exercise("07").check()
    said = "A build can read the workflow; The key is Enabled (it is Disabled)"
    assert checked.summary == f"✗ Not yet. Still wanted: {said}."
    shown = checked._repr_mimebundle_()
    assert checked.summary in shown["text/html"]
    assert "DisabledException" in shown["text/html"]
    assert "DisabledException" in shown["text/plain"]


def test_hints_get_more_and_end(on_sandbox: Sandbox) -> None:
    one = open_exercise("08")
    told = [str(one.hint()) for _ in range(5)]
    hints = one.lesson.hints
    assert told[:3] == [f"Hint {n} of 3: {text}" for n, text in enumerate(hints, 1)]
    assert (
        told[3]
        == told[4]
        == f"{told[2]} That was the last hint: exercise.solution() shows one way."
    )


def test_who_or_what_is_not_there_is_named(on_sandbox: Sandbox) -> None:
    with pytest.raises(ParameterError, match="There is no exercise '10'"):
        open_exercise("10")
    one = open_exercise("06")
    with pytest.raises(ParameterError, match="administrator or NightlyScript"):
        one.client("kms", "Olga")
    with pytest.raises(ParameterError, match="event and key and proves"):
        one.answer(verdict="PROVED")


def test_no_endpoint_but_the_sandbox_s_is_taken(
    on_sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither one of AWS's nor another on this machine, whatever the hand-off file says."""
    handoff = on_sandbox.ready()
    for elsewhere in ("https://kms.us-west-2.amazonaws.com", "http://127.0.0.1:1"):
        told = replace(handoff, endpoint_url=elsewhere)
        with pytest.raises(ParameterError, match="is not the sandbox's endpoint"):
            Account(told)
        path = tmp_path / "sandbox.json"
        path.touch(mode=0o600)
        path.write_text(json.dumps({name: getattr(told, name) for name in told.__slots__}))
        monkeypatch.setenv(HANDED_OVER, str(path))
        with pytest.raises(ParameterError, match="is not the sandbox's endpoint"):
            open_exercise("07")


def test_the_environment_leads_nobody_elsewhere(
    on_sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("AWS_ENDPOINT_URL_KMS", "http://127.0.0.1:1")
    one = open_exercise("05")
    for who in ("administrator", "Olga"):
        assert one.client("kms", who).meta.endpoint_url == on_sandbox.ready().endpoint_url


def test_a_shell_is_the_person_in_the_account_and_nothing_else_counts(on_sandbox: Sandbox) -> None:
    one = open_exercise("05")
    line = str(one.shell("Olga"))
    path = Path(line.removeprefix("In a terminal: . "))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    foreign = {
        "AWS_PROFILE": "mine",
        "AWS_SESSION_TOKEN": "x",
        "AWS_ENDPOINT_URL_STS": "http://127.0.0.1:1",
        "AWS_SECRET_ACCESS_KEY": "x\nAWS_y=z",
    }
    ask = (
        f'. "{path}" && env && "{sys.executable}" -c '
        '\'import boto3; print(boto3.client("sts").get_caller_identity()["Arn"])\''
    )
    done = subprocess.run(
        ["sh", "-c", ask], env={**os.environ, **foreign}, capture_output=True, text=True, check=True
    )
    *lines, arn = done.stdout.splitlines()
    told = dict(each.split("=", 1) for each in lines if each.startswith("AWS_"))
    assert told["AWS_ENDPOINT_URL"] == on_sandbox.ready().endpoint_url
    assert not {"AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL_STS"} & set(told)
    assert arn == f"arn:aws:iam::{one.account.number}:user/Olga"


def test_a_refusal_shows_in_aws_s_words_without_advice(on_sandbox: Sandbox) -> None:
    cell = (
        "from keyrunbook.exercises import open_exercise; one = open_exercise('03'); "
        "one.client('kms').put_key_policy("
        "KeyId=one.facts.key_arn, PolicyName='default', Policy=one.facts.proposed)"
    )
    program = (
        "from IPython.core.interactiveshell import InteractiveShell as Shell; "
        f"Shell.instance(history_manager=None).run_cell({cell!r})"
    )
    words = [sys.executable, "-c", program]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    (line,) = done.stdout.strip().splitlines()
    assert line.startswith("An error occurred (MalformedPolicyDocumentException)")
    assert "will not allow you to update the key policy" in line


def test_what_is_gone_is_said_and_how_to_begin_anew(on_sandbox: Sandbox) -> None:
    one = open_exercise("01")
    one.client("imagebuilder").delete_workflow(workflowBuildVersionArn=one.facts.workflow_arn)
    checked = one.check()
    assert not checked.solved
    assert f"{one.facts.workflow_arn}' does not exist. Open the exercise again" in checked.text


def test_buttons_check_hint_and_solve_where_a_front_end_shows_them(
    on_sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = open_exercise("07")
    assert set(one.check()._repr_mimebundle_()) == {"text/plain", "text/html"}
    monkeypatch.setenv(FRONT_END, "07_disabled_key.ipynb")
    checked = one.check()
    shown, _ = checked._repr_mimebundle_()
    assert set(shown) > {"text/plain", "text/html"}
    assert checked.panel is not None
    verdict, row, told = (form := checked.panel.form("")).children
    again, hint, solution = row.children
    hint.click()
    assert one.lesson.hints[0] in told.value
    solution.click()
    assert "enable_key" in told.value
    exec(solution_text(one.lesson), {"exercise": one})
    again.click()
    assert "✓ Solved." in verdict.value
    assert 'role="status"' in verdict.value
    form.close_all()


def test_the_notebooks_run_from_top_to_bottom_unsolved(on_sandbox: Sandbox, tmp_path: Path) -> None:
    """All in one kernel, one after the other: no cell fails, and no check says that it is done."""
    whole = nbformat.v4.new_notebook()  # type: ignore[no-untyped-call]
    for name in LESSONS:
        path = notebooks_dir() / "exercises" / f"{name}.ipynb"
        read = nbformat.read(path, as_version=4)  # type: ignore[no-untyped-call]
        whole.cells += read.cells
        whole.metadata = read.metadata
    given, done = tmp_path / "whole.ipynb", tmp_path / "done.ipynb"
    nbformat.write(whole, given)  # type: ignore[no-untyped-call]
    words = [sys.executable, "-m", "papermill", "--no-progress-bar", str(given), str(done)]
    ran = subprocess.run(words, capture_output=True, text=True, timeout=120, check=False)
    assert ran.returncode == 0, ran.stderr[-3000:]
    cells = nbformat.read(done, as_version=4).cells  # type: ignore[no-untyped-call]
    checks = [cell for cell in cells if cell.source == "exercise.check()"]
    texts = [cell.outputs[-1].data["text/plain"] for cell in checks]
    assert [text[:10] for text in texts] == ["✗ Not yet."] * len(LESSONS)
    streams = [one for cell in cells for one in cell.get("outputs", ()) if one.get("name")]
    assert {one.name for one in streams} == {"stdout"}
