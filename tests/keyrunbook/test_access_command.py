"""`runbook access`: requests decided, policies checked, the matrix of a key of the sandbox."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from iamaccess import Outcome, documents
from iamaccess.lint import Aim
from keyrunbook.aws.clients import sandbox_clients
from keyrunbook.cli import _main
from keyrunbook.execution.deciding import FIELDS, BadInput, answers
from keyrunbook.execution.linting import check
from keyrunbook.sandboxes import HANDED_OVER, start_private

ACCOUNT = "111122223333"
KEY = f"arn:aws:kms:us-west-2:{ACCOUNT}:key/1234abcd-12ab-34cd-56ef-1234567890ab"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/YourImageBuilderExecutionRole"
SESSION = f"arn:aws:sts::{ACCOUNT}:assumed-role/YourImageBuilderExecutionRole/build"
USER = f"arn:aws:iam::{ACCOUNT}:user/Alice"
CONTEXT = "kms:EncryptionContext:aws:imagebuilder:arn"
WORKFLOW = f"arn:aws:imagebuilder:us-west-2:{ACCOUNT}:workflow/build/w/1.0.0/*"
PAGE_FILE = Path(__file__).parents[1] / "iamaccess" / "data_protection_page.json"
PAGE = json.loads(PAGE_FILE.read_text())

ASKED: Mapping[str, Any] = {
    "principal": SESSION,
    "action": "kms:Decrypt",
    "resource": KEY,
    "context": {CONTEXT: WORKFLOW},
    "resource_policy": PAGE["key_policy"],
}
"""The execution role's session asks to decrypt a workflow, under the page's key policy."""


def line(**changed: Any) -> str:
    """The request, changed, as one line; None takes a field away."""
    asked = {**ASKED, **changed}
    return json.dumps({name: value for name, value in asked.items() if value is not None}) + "\n"


def outcome(*, complete: bool = True, **changed: Any) -> str:
    (answer,) = answers([line(**changed)], complete=complete)
    return answer.outcome.value


def allow(action: str, **more: Any) -> dict[str, Any]:
    statement = {"Effect": "Allow", "Action": action, "Resource": "*", **more}
    return {"Version": "2012-10-17", "Statement": [statement]}


def deny(action: str, **more: Any) -> dict[str, Any]:
    return allow(action, **{"Effect": "Deny", **more})


NONE: Mapping[str, Any] = {
    "identity_policies": [],
    "permissions_boundary": [],
    "session_policy": [],
    "service_control_policies": [],
    "resource_control_policies": [],
    "grants": [],
}
"""Each layer but the key policy is known to be none."""
DELEGATES = allow("kms:*", Principal={"AWS": f"arn:aws:iam::{ACCOUNT}:root"})
TEAM = {"StringEquals": {"aws:PrincipalTag/team": "images"}}
PATHED = allow("kms:*", Principal={"AWS": f"arn:aws:iam::{ACCOUNT}:role/teams/R"})
RCP = allow("*", Principal="*")
GRANT = {"GranteePrincipal": ROLE, "Operations": ["Encrypt"], "KeyId": KEY, "GrantId": "g1"}


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({}, "ALLOWED"),
        (
            {"context": {CONTEXT: WORKFLOW.replace("w/1", "W/1").replace("workflow", "Workflow")}},
            "DENIED",
        ),
        ({"context": {CONTEXT: WORKFLOW.replace(ACCOUNT, "444455556666")}}, "DENIED"),
        ({"context": {}}, "DENIED"),
        ({"action": "kms:Encrypt"}, "DENIED"),
        ({"action": "kms:Encrypt", "grants": [GRANT]}, "ALLOWED"),
        (
            {
                "action": "kms:Encrypt",
                "grants": [{**GRANT, "Constraints": {"EncryptionContextSubset": {"a": "b"}}}],
            },
            "DENIED",
        ),
        ({"identity_policies": [deny("kms:Decrypt")]}, "DENIED"),
        ({"permissions_boundary": allow("s3:*")}, "DENIED"),
        ({"permissions_boundary": []}, "ALLOWED"),
        ({"session_policy": json.dumps(allow("s3:*"))}, "DENIED"),
        ({"service_control_policies": [[allow("*")], [allow("s3:*")]]}, "DENIED"),
        ({"service_control_policies": [[allow("*")], [allow("kms:*")]]}, "ALLOWED"),
        ({"resource_control_policies": [[RCP, deny("kms:*", Principal="*")]]}, "DENIED"),
        ({"principal": USER}, "DENIED"),
        ({"principal": USER, "resource_policy": DELEGATES}, "DENIED"),
        (
            {
                "principal": USER,
                "resource_policy": DELEGATES,
                "identity_policies": [allow("kms:Decrypt", Condition=TEAM)],
                "principal_tags": {"team": "images"},
            },
            "ALLOWED",
        ),
        (
            {
                "principal": f"arn:aws:sts::{ACCOUNT}:assumed-role/R/s",
                "role_arn": f"arn:aws:iam::{ACCOUNT}:role/teams/R",
                "resource_policy": PATHED,
            },
            "ALLOWED",
        ),
        (
            {"principal": f"arn:aws:sts::{ACCOUNT}:assumed-role/R/s", "resource_policy": PATHED},
            "DENIED",
        ),
        ({"principal": "*", "resource_policy": allow("kms:*", Principal="*")}, "ALLOWED"),
        (
            {
                "principal": "s3.amazonaws.com",
                "resource_policy": allow("kms:*", Principal={"Service": "s3.amazonaws.com"}),
            },
            "ALLOWED",
        ),
        (
            {
                "principal": "accounts.google.com",
                "action": "sts:AssumeRoleWithWebIdentity",
                "resource": ROLE,
                "resource_policy": {
                    "Statement": {
                        "Effect": "Allow",
                        "Principal": {"Federated": "accounts.google.com"},
                        "Action": "sts:AssumeRoleWithWebIdentity",
                    }
                },
            },
            "ALLOWED",
        ),
        (
            {
                "resource_policy": allow(
                    "kms:*",
                    Principal="*",
                    Condition={"StringEquals": {"kms:CallerAccount": ACCOUNT}},
                )
            },
            "ALLOWED",
        ),
        (
            {
                "resource_policy": allow(
                    "kms:*",
                    Principal="*",
                    Condition={
                        "ForAnyValue:StringEquals": {
                            "kms:EncryptionContextKeys": "aws:imagebuilder:arn"
                        }
                    },
                )
            },
            "ALLOWED",
        ),
    ],
)
def test_what_is_given_decides(changed: Mapping[str, Any], expected: str) -> None:
    assert outcome(**changed) == expected


def test_what_is_not_given_is_not_known() -> None:
    """Null is as good as left out; `[]` is known to be none."""
    assert outcome(complete=False, **NONE) == "ALLOWED"
    for name, layer in (
        ("identity_policies", "identity"),
        ("permissions_boundary", "boundary"),
        ("session_policy", "session"),
        ("service_control_policies", "service_control"),
        ("resource_control_policies", "resource_control"),
    ):
        for given in ({**NONE, name: None}, {each: NONE[each] for each in NONE if each != name}):
            (answer,) = answers([json.dumps({**ASKED, **given})])
            assert answer.outcome.value == "UNKNOWN"
            assert answer.unknown == (layer,)


def test_a_null_is_written_too() -> None:
    (answer,) = answers([json.dumps({**ASKED, "identity_policies": None, "grants": None})])
    assert "identity" in answer.unknown


MFA = {"Bool": {"aws:MultiFactorAuthPresent": "true"}}


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({}, "UNKNOWN"),
        ({"absent": ["aws:MultiFactorAuthPresent"]}, "DENIED"),
        ({"absent": ["AWS:multifactorauthpresent"]}, "DENIED"),
        ({"context": {"aws:MultiFactorAuthPresent": True}}, "ALLOWED"),
        ({"context": {"aws:MultiFactorAuthPresent": "false"}}, "DENIED"),
    ],
)
def test_a_condition_key_that_is_not_told_is_not_known(
    changed: Mapping[str, Any], expected: str
) -> None:
    policy = allow("kms:*", Principal={"AWS": USER}, Condition=MFA)
    told = {**NONE, "principal": USER, "resource_policy": policy, "context": {}, **changed}
    (answer,) = answers([line(**told)])
    assert answer.outcome.value == expected
    assert ("aws:MultiFactorAuthPresent" in answer.unknown) is (expected == "UNKNOWN")


def test_tags_are_told_together() -> None:
    """A tag that is not among the principal's tags is known to be absent."""
    own = [
        allow("kms:*", Condition=TEAM),
        allow("kms:*", Condition={"StringEquals": {"aws:userid": "${ aws:PrincipalTag/id}"}}),
    ]
    asked = {
        **NONE,
        "principal": USER,
        "resource_policy": DELEGATES,
        "context": {"aws:userid": "x"},
        "identity_policies": own,
    }
    assert outcome(complete=False, **asked) == "UNKNOWN"
    assert outcome(complete=False, **asked, principal_tags={}) == "DENIED"
    assert outcome(complete=False, **asked, principal_tags={"team": "images"}) == "ALLOWED"
    assert outcome(complete=False, **asked, principal_tags={"id": "x"}) == "ALLOWED"


def test_an_answer_says_all_that_was_asked_for() -> None:
    component = WORKFLOW.replace("workflow", "component")
    allowed, denied = answers([line(), line(context={CONTEXT: component})], complete=True)
    found = json.loads(allowed.to_json())
    assert list(found) == ["outcome", "reason", "layer", "statement", "unknown", "explanation"]
    sid = "Allow access to build images with encrypted workflow"
    assert found["statement"] == {"policy": "key policy", "sid": sid, "index": 0}
    assert (found["reason"], found["layer"]) == ("allowed", "resource")
    assert (denied.reason, denied.layer, denied.statement) == ("implicit_deny", "resource", None)
    for part in (sid, "StringLike", CONTEXT, "workflow/*", component, "key/"):
        assert part in denied.explanation


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"context": {CONTEXT: WORKFLOW.replace("workflow", "workflov")}}, "one character differs"),
        ({"context": {CONTEXT: WORKFLOW.replace(ACCOUNT, "444455556666")}}, "account"),
    ],
)
def test_one_letter_changes_decision_and_explanation(
    change: Mapping[str, Any], reason: str
) -> None:
    (answer,) = answers([line(**change)], complete=True)
    assert answer.outcome.value == "DENIED"
    assert reason in answer.explanation


BAD = {"Statement": [{"Effect": "Allow", "Action": "kms:*", "Resource": "*", "Principal": "x"}]}


@pytest.mark.parametrize(
    ("changed", "place", "reason"),
    [
        ({"principal": None}, "the whole object", "principal is missing"),
        ({"action": 7}, "/action", "action is missing, or no string"),
        ({"action": "kms:*"}, "/action", "is no action"),
        ({"action": "Decrypt"}, "/action", "is no action"),
        ({"resource": "key/1"}, "/resource", "is no ARN"),
        ({"principal": "Alice"}, "/principal", "is no principal"),
        ({"principal": f"arn:aws:iam::{ACCOUNT}:group/g"}, "/principal", "is no principal"),
        ({"principle": "x"}, "/principle", "unknown field"),
        ({"context": []}, "/context", "no JSON object"),
        ({"context": {"a/b": {}}}, "/context/a~1b", "no string"),
        ({"context": {"a": ["b", None]}}, "/context/a/1", "no string"),
        ({"identity_policies": "x"}, "/identity_policies", "AWS would refuse it"),
        ({"identity_policies": [7]}, "/identity_policies/0", "no policy document"),
        ({"resource_policy": BAD}, "/resource_policy/Statement/0/Principal", "AWS would refuse"),
        ({"service_control_policies": [allow("*")]}, "/service_control_policies/0", "a level"),
        ({"service_control_policies": {}}, "/service_control_policies", "a list of levels"),
        (
            {"resource_control_policies": [[RCP, allow("kms:*", Principal="*")]]},
            "/resource_control_policies/0/1/Statement/0/Effect",
            "AWS would refuse",
        ),
        ({"grants": {}}, "/grants", "a list of grants"),
        ({"grants": [{}]}, "/grants/0/Operations", "a list of operations"),
        (
            {"grants": [{**GRANT, "GranteePrincipal": None}]},
            "/grants/0/GranteePrincipal",
            "no string",
        ),
        ({"grants": [{**GRANT, "grantee": "x"}]}, "/grants/0/grantee", "unknown field"),
        ({"principal_tags": {"a": 1}}, "/principal_tags/a", "no string"),
        ({"role_arn": f"{ROLE}2"}, "/role_arn", "is not the role of"),
        ({"principal": USER, "role_arn": ROLE}, "/role_arn", "is no session of a role"),
        ({"absent": "x"}, "/absent", "a list of condition keys"),
        ({"absent": ["x", CONTEXT.upper()]}, "/absent/1", "is in the context too"),
    ],
)
def test_what_is_no_request_has_its_line_and_place(
    changed: Mapping[str, Any], place: str, reason: str
) -> None:
    with pytest.raises(BadInput) as refused:
        list(answers([line(), "\n", line(**changed)]))
    assert refused.value.what.startswith(f"line 3, {place}: ")
    assert reason in refused.value.what
    assert refused.value.fix
    assert refused.value.exit_status == 2


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "line 1: there is no request."),
        ("\n \n", "line 1: there is no request."),
        ("[]\n", "line 1, the whole object: a request is a JSON object."),
        ("{\n", "line 1, column 2: not JSON"),
        ("\n\n{\n 'a'\n", "line 4, column 2: not JSON"),
        ('{}{"a": 1\n', "line 1, column 3: not JSON: Extra data"),
        ("{}{}\n", "line 1, column 3: not JSON: Extra data"),
        ('{"action": NaN}\n', "line 1: NaN is not JSON."),
        ('{"action": 1, "action": 2}\n', "line 1: 'action' is there twice"),
        ("9" * 5_000 + "\n", "line 1: Exceeds the limit"),
        ("[" * 100_000 + "\n", "line 1: nested too deeply"),
    ],
)
def test_what_is_no_json_has_its_line(text: str, says: str) -> None:
    with pytest.raises(BadInput) as refused:
        list(answers(io.StringIO(text)))
    assert refused.value.what.startswith(says)


def test_one_object_may_go_over_many_lines() -> None:
    text = "\n" + json.dumps(ASKED, indent=2) + "\n\n"
    (answer,) = answers(io.StringIO(text), complete=True)
    assert answer.outcome.value == "ALLOWED"
    wrong = text.replace('"Effect": "Allow"', '"Effect": "allow"', 1)
    number = next(n for n, each in enumerate(wrong.split("\n"), 1) if '"allow"' in each)
    with pytest.raises(BadInput, match=f"line {number}, /resource_policy/Statement/0/Effect"):
        list(answers(io.StringIO(wrong)))


def test_a_line_that_is_cut_off_is_the_one_that_is_named() -> None:
    with pytest.raises(BadInput, match=r"^line 2, column 6: not JSON"):
        list(answers([line(), '{"a": \n']))


def test_a_grant_lets_its_retiring_principal_retire_it_and_do_nothing_else() -> None:
    grant = {**GRANT, "GranteePrincipal": f"{ROLE}2", "RetiringPrincipal": ROLE}
    asked = {**NONE, "resource_policy": [], "grants": [grant]}
    assert outcome(complete=False, **asked, action="kms:RetireGrant") == "ALLOWED"
    assert outcome(complete=False, **asked) == "DENIED"


def test_answers_before_a_bad_line_are_given() -> None:
    found = answers([line(), line(), "{}\n"])
    assert [next(found).outcome, next(found).outcome] == [Outcome.UNKNOWN] * 2
    with pytest.raises(BadInput, match="line 3"):
        next(found)


def test_each_distinct_document_is_compiled_once() -> None:
    before = documents._parse_text.cache_info().misses
    list(answers([line(context={CONTEXT: f"{number}"}) for number in range(50)]))
    assert documents._parse_text.cache_info().misses - before <= 1


# The command ------------------------------------------------------------------------------------

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def access(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    def run(*words: str, stdin: str | bytes = "") -> tuple[int, str, str]:
        raw = stdin.encode() if isinstance(stdin, str) else stdin
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(raw)))
        status = _main(["access", *words])
        said = capsys.readouterr()
        return status, said.out, said.err

    return run


@pytest.mark.parametrize(
    ("words", "status"),
    [
        ([], 0),
        (["--complete"], 0),
        (["--complete", "--expect", "ALLOWED"], 0),
        (["--complete", "--expect", "DENIED"], 1),
        (["--expect", "UNKNOWN"], 0),
        (["--expect", "ALLOWED"], 1),
        (["--expect", "allowed"], 2),
    ],
)
def test_decide_ends_with_its_status(access: Run, words: list[str], status: int) -> None:
    ended, out, _ = access("decide", *words, stdin=line() + line())
    assert ended == status
    if status < 2:
        assert len(out.splitlines()) == 2
        assert {json.loads(each)["outcome"] for each in out.splitlines()} == {
            "ALLOWED" if "--complete" in words else "UNKNOWN"
        }


def test_decide_expects_of_every_line(access: Run) -> None:
    both = line() + line(action="kms:Encrypt")
    assert access("decide", "--complete", "--expect", "ALLOWED", stdin=both)[0] == 1


def test_decide_where_nobody_reads_on() -> None:
    """Not with 1, which would say that --expect was not met."""
    code = "from keyrunbook.cli import main; main()"
    asking = subprocess.Popen(
        [sys.executable, "-c", code, "access", "decide", "--complete"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert asking.stdin is not None
    assert asking.stdout is not None
    assert asking.stderr is not None
    asking.stdout.close()
    asking.stdin.write(line().encode())
    asking.stdin.close()
    said = asking.stderr.read()
    asking.stderr.close()
    assert (asking.wait(), said) == (5, b"")


def test_decide_of_bad_input(access: Run) -> None:
    status, out, err = access("decide", "--complete", stdin=line() + "{}\n" + line())
    assert status == 2
    assert len(out.splitlines()) == 1
    assert err.startswith("Error: line 2, the whole object: principal is missing")
    assert access("decide", stdin=line().encode() + b"\xff\n")[2].startswith(
        "Error: line 2: not UTF-8"
    )
    assert access("decide", "--complete", stdin=b"\xef\xbb\xbf" + line().encode())[0] == 0


def test_the_help_names_every_field(access: Run) -> None:
    _, out, _ = access("decide", "--help")
    for name in FIELDS:
        assert name in out
    assert "Exit status" in out


@pytest.fixture
def policies(tmp_path: Path) -> dict[str, str]:
    """Files of the page's policies, and of the key policy mended."""
    mended = json.loads(json.dumps(PAGE["key_policy"]))
    mended["Statement"][1]["Resource"] = "*"
    documents = {"key": PAGE["key_policy"], "role": PAGE["role_policy"], "mended": mended}
    for name, document in documents.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(document, indent=2))
    return {name: str(tmp_path / f"{name}.json") for name in documents}


def test_lint_tells_file_line_and_mend(access: Run, policies: Mapping[str, str]) -> None:
    status, out, _ = access("lint", policies["key"], policies["role"])
    assert status == 1
    assert f"{policies['key']}:30: error K03 /Statement/1/Resource: " in out
    assert f"{policies['role']}:5: error R01 /Statement/0/Sid: IAM refuses the Sid" in out
    assert "Write AllowAccessToTheWorkflowKey." in out
    status, out, _ = access("lint", policies["mended"])
    assert (status, out) == (0, f"{policies['mended']}: nothing to find fault with\n")


def test_lint_from_standard_input_and_as_json(access: Run) -> None:
    status, out, _ = access("lint", "-", "--json", stdin=json.dumps(PAGE["role_policy"], indent=2))
    assert status == 1
    first = json.loads(out)[0]
    assert list(first) == ["file", "rule", "severity", "pointer", "line", "why", "mend"]
    assert (first["file"], first["rule"], first["line"]) == ("-", "R01", 5)


def test_lint_with_what_is_known(access: Run, policies: Mapping[str, str]) -> None:
    mended = policies["mended"]
    assert access("lint", mended, "--key", KEY.replace(ACCOUNT, "444455556666"))[0] == 1
    assert access("lint", mended, "--execution-role", ROLE)[0] == 0
    wide = Path(mended)
    wide.write_text(wide.read_text().replace('"kms:GenerateDataKey"', '"kms:PutKeyPolicy"'))
    assert access("lint", mended)[0] == 0
    assert access("lint", mended, "--strict")[0] == 1
    assert access("lint", mended, "--strict", "--administrator", ROLE)[1].count("K06") == 0


def test_lint_of_what_cannot_be_read(access: Run, tmp_path: Path) -> None:
    status, _, err = access("lint", str(tmp_path / "absent.json"))
    assert (status, "absent.json cannot be read" in err) == (2, True)
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    assert access("lint", str(tmp_path / "binary"))[0] == 2
    assert access("lint")[0] == 2
    status, out, _ = access("lint", "-", stdin="{\n nonsense")
    assert (status, "-:2: error K00" in out) == (1, True)


def test_the_kind_of_a_policy_is_told_by_its_principals() -> None:
    def rules(document: Any, kind: str | None = None) -> set[str]:
        return {one.rule for one in check(json.dumps(document), kind, Aim())}

    assert "R01" in rules(PAGE["role_policy"])
    assert "R01" not in rules(PAGE["key_policy"])
    assert "K00" in rules(PAGE["key_policy"], "role")
    assert rules([]) == {"K00"}


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--key", "alias/mine"], "is not the ARN of a KMS key"),
        (["--key", KEY.replace(":key/", ":alias/")], "is not the ARN of a KMS key"),
        ([], "Missing option '--key'"),
        (["--key", KEY, "--profile", "p", "--target", "sandbox"], "profile"),
    ],
)
def test_matrix_of_what_is_no_key(
    access: Run, monkeypatch: pytest.MonkeyPatch, words: list[str], says: str
) -> None:
    monkeypatch.setenv(HANDED_OVER, "/no/sandbox/is/here")  # it is said before anybody is asked
    status, _, err = access("matrix", *words)
    assert status == 2
    assert says in err


@pytest.mark.e2e
def test_the_matrix_of_a_key_changes_nothing(access: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    with start_private() as sandbox:
        monkeypatch.setenv(HANDED_OVER, str(sandbox.path))
        clients = sandbox_clients(sandbox.ready())
        key = clients("kms").create_key()["KeyMetadata"]["Arn"]
        clients("iam").create_role(
            RoleName="R",
            AssumeRolePolicyDocument=json.dumps(
                {
                    "Version": "2012-10-17",
                    "Statement": [
                        {
                            "Effect": "Allow",
                            "Principal": {"Service": "imagebuilder.amazonaws.com"},
                            "Action": "sts:AssumeRole",
                        }
                    ],
                }
            ),
        )
        own, out, _ = access("matrix", "--key", key, "--json")
        status, text, _ = access("matrix", "--key", key, "--role", "R")
        assert access("matrix", "--key", key, "--role", "absent")[0] == 2
        absent = f"{key.rpartition('/')[0]}/00000000-0000-0000-0000-000000000000"
        assert access("matrix", "--key", absent, "--role", "R")[0] == 2
        assert access("matrix", "--key", key.replace("us-", "eu-", 1))[0] == 2
    found = json.loads(out)
    assert (own, found["exit_status"], status) == (0, 0, 0)
    assert found["read_from"] == "embedded sandbox, not AWS"
    assert {cell["outcome"] for cell in found["cells"]} == {"ALLOWED"}
    assert "execution role" in text
    assert "DENIED" in text
