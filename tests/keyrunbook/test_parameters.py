"""Parameters: each one's limits, what is refused, and what the refusal says."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from keyrunbook import parameters as module
from keyrunbook.errors import ParameterError
from keyrunbook.parameters import (
    Parameters,
    Target,
    check_together,
    event_wait_seconds,
    project_dir,
    workflow_document,
)
from pydantic.fields import FieldInfo

KEY = "arn:aws-cn:kms:cn-north-1:111122223333:key/mrk-1234abcd12ab34cd56ef1234567890ab"
ROLE = "arn:aws:iam::111122223333:role/"
BUILDER = "arn:aws-cn:imagebuilder:cn-north-1:111122223333:"

VALID = [
    ("run_id", "x"),
    ("run_id", "20260101-abc_DEF"),
    ("run_id", "a" * 64),
    ("outputs_dir", "../somewhere with spaces"),
    ("target", "aws"),
    ("region", "us-gov-west-1"),
    ("region", "ap-southeast-7"),
    ("profile", "my profile"),
    ("account", "012345678901"),
    ("use_fips", False),
    ("read_only", True),
    ("key_alias", "alias/a"),
    ("key_alias", "alias/" + "a" * 250),
    ("key_alias", "alias/awsome/key_1"),
    ("key_arn", KEY),
    ("rotate_key", True),
    ("execution_role", "R" * 64),
    ("execution_role", "a+=,.@-_role"),
    ("execution_role", ROLE + "ImageBuilderExecutionRole"),
    ("execution_role", ROLE + "service/team/one/two/three/four/five/R"),
    ("workflow_name", "abc"),
    ("workflow_name", "My build 1"),
    ("workflow_name", "a" * 128),
    ("workflow_version", "0.0.1"),
    ("workflow_type", "TEST"),
    ("workflow_file", "workflows/test-image.yaml"),
    ("workflow_uri", "s3://abc/k"),
    ("workflow_uri", "s3://my.bucket-1/a folder/ä+b.yaml"),
    ("approve", "0a" * 32),
    ("event_wait_seconds", 0),
    ("event_wait_seconds", 7200),
    ("lookup_calls", 1),
    ("settle_seconds", 0),
    ("settle_seconds", 3600),
    ("answer_seconds", 1),
    ("answer_seconds", 3600),
    ("start_seconds", 1),
    ("start_seconds", 3600),
    ("cell_seconds", 86400),
    ("pending_window_days", 7),
    ("pending_window_days", 30),
    ("run_build", False),
    ("build_recipe", BUILDER + "container-recipe/my_recipe-1/1.20.3"),
    ("build_infrastructure", BUILDER + "infrastructure-configuration/my_own-1"),
    ("build_wait_seconds", 3000),
    ("revoke_by", "deny"),
    ("adopt_statements", True),
    ("revoke_others", True),
    ("delete_used_workflow", True),
    ("delete_used_key", True),
    ("tags", {}),
    ("tags", {f"k{n}": "v" for n in range(40)}),
    ("tags", {"k" * 128: "v" * 256}),
    ("tags", {"owner": ""}),
]


@pytest.mark.parametrize(("name", "value"), VALID)
def test_valid(name: str, value: Any) -> None:
    assert getattr(Parameters.load({name: value}), name) == value


INVALID = [
    ("run_id", "", "has not the right form, such as"),
    ("run_id", "-a", "has not the right form, such as"),
    ("run_id", "../x", "has not the right form, such as"),
    ("run_id", "a/b", "has not the right form, such as"),
    ("run_id", "a\n", "has not the right form, such as"),
    ("run_id", "é", "has not the right form, such as"),
    ("run_id", "a" * 65, "has not the right form, such as"),
    ("run_id", 12, "papermill's -r"),
    ("run_id", ["x"], "valid string, such as '20260131-images'"),
    ("outputs_dir", "", "has not the right form, such as"),
    ("outputs_dir", "a\0b", "has not the right form, such as"),
    ("target", "moto", "'sandbox' or 'aws'"),
    ("region", "us-west", "has not the right form, such as"),
    ("region", "us-west-2a", "has not the right form, such as"),
    ("region", "us-west-٢", "has not the right form, such as"),
    ("profile", "", "at least 1 character"),
    ("account", "1111", "has not the right form, such as '111122223333'"),
    ("account", "1111222233٣3", "has not the right form"),
    ("account", 111122223333, "papermill's -r"),
    ("use_fips", "yes", "valid boolean"),
    ("read_only", 1, "valid boolean"),
    ("key_alias", "imagebuilder", "has not the right form, such as"),
    ("key_alias", "alias/", "has not the right form, such as"),
    ("key_alias", "alias/" + "a" * 251, "has not the right form, such as"),
    ("key_alias", "alias/a b", "has not the right form, such as"),
    ("key_alias", "alias/aws/ebs", "reserved for AWS managed keys"),
    ("key_alias", "alias/AKIAIOSFODNN7EXAMPLE", "looks like a secret"),
    ("key_arn", "alias/x", "has not the right form, such as"),
    ("key_arn", KEY.replace(":key/", ":alias/"), "has not the right form, such as"),
    ("key_arn", KEY.replace("111122223333", "1111"), "has not the right form, such as"),
    ("rotate_key", "yes", "valid boolean"),
    ("execution_role", "", "has not the right form, such as"),
    ("execution_role", "path/Role", "has not the right form, such as"),
    ("execution_role", "R" * 65, "has not the right form, such as"),
    ("execution_role", "Rôle", "has not the right form, such as"),
    ("execution_role", "arn:aws:iam::111122223333:user/ann", "has not the right form, such as"),
    ("execution_role", "arn:aws:iam::111122223333:role/", "has not the right form, such as"),
    ("execution_role", "jane@example.com", "looks like an e-mail address"),
    ("workflow_name", "ab", "has not the right form, such as"),
    ("workflow_name", " abc", "has not the right form, such as"),
    ("workflow_name", "a.b", "has not the right form, such as"),
    ("workflow_name", "a" * 129, "has not the right form, such as"),
    ("workflow_name", "AKIAIOSFODNN7EXAMPLE", "looks like a secret"),
    ("workflow_name", "jane@example.com", "looks like an e-mail address"),
    ("workflow_version", "1.0", "has not the right form, such as"),
    ("workflow_version", "1.x.x", "has not the right form, such as"),
    ("workflow_version", "1.0.٣", "has not the right form, such as"),
    ("workflow_type", "build", "'BUILD', 'TEST' or 'DISTRIBUTION'"),
    ("workflow_file", "", "has not the right form, such as"),
    ("workflow_uri", "s3://bucket", "has not the right form, such as"),
    ("workflow_uri", "s3://Bucket/key", "has not the right form, such as"),
    ("workflow_uri", "s3://bucket/*", "has not the right form, such as"),
    ("workflow_uri", "https://bucket.s3.amazonaws.com/key", "has not the right form, such as"),
    ("approve", "0A" * 32, "has not the right form"),
    ("approve", "0a" * 31, "has not the right form"),
    ("event_wait_seconds", -1, "greater than or equal to 0"),
    ("event_wait_seconds", 7201, "less than or equal to 7200"),
    ("lookup_calls", 0, "greater than or equal to 1"),
    ("settle_seconds", -1, "greater than or equal to 0"),
    ("answer_seconds", 0, "greater than or equal to 1"),
    ("start_seconds", 0, "greater than or equal to 1"),
    ("cell_seconds", 86401, "less than or equal to 86400"),
    ("event_wait_seconds", "30", "valid integer"),
    ("event_wait_seconds", True, "valid integer"),
    ("pending_window_days", 6, "greater than or equal to 7"),
    ("pending_window_days", 31, "less than or equal to 30"),
    ("run_build", "yes", "valid boolean"),
    ("build_recipe", BUILDER + "image-recipe/base/x.x.x", "has not the right form, such as"),
    ("build_recipe", "base", "has not the right form, such as"),
    ("build_infrastructure", BUILDER + "image-recipe/base/1.0.0", "has not the right form"),
    ("build_wait_seconds", -1, "greater than or equal to 0"),
    ("build_wait_seconds", 3001, "less than or equal to 3000"),
    ("revoke_by", "removing", "'remove' or 'deny'"),
    ("adopt_statements", "yes", "valid boolean"),
    ("revoke_others", "yes", "valid boolean"),
    ("delete_used_workflow", 1, "valid boolean"),
    ("delete_used_key", 1, "valid boolean"),
    ("tags", "a=b", "valid dictionary"),
    ("tags", {"a": 1}, "valid string"),
    ("tags", {f"k{n}": "v" for n in range(41)}, "at most 40 items"),
    ("tags", {"": "x"}, "1–128 characters"),
    ("tags", {"k" * 129: "x"}, "1–128 characters"),
    ("tags", {"k": "v" * 257}, "values up to 256"),
    ("tags", {"aws:owner": "x"}, "reserved"),
    ("tags", {"AWS:owner": "x"}, "reserved"),
    ("tags", {"keyrunbook:run": "mine"}, "reserved"),
    ("tags", {"owner": "jane@example.com"}, "tag 'owner' looks like an e-mail address"),
    ("tags", {"repo": "https://a:b@example.com"}, "tag 'repo' looks like a URL with credentials"),
    ("tags", {"jane@example.com": "x"}, "a tag looks like an e-mail address"),
    ("tags", {"password": "hunter2"}, "looks like a secret"),
]


@pytest.mark.parametrize(("name", "value", "reason"), INVALID)
def test_refused_with_the_name_and_the_reason(name: str, value: Any, reason: str) -> None:
    with pytest.raises(ParameterError) as caught:
        Parameters.load({name: value})
    assert caught.value.what.startswith(name)
    assert reason in caught.value.what
    description = Parameters.model_fields[name].description
    assert f"({description})" in caught.value.what


@pytest.mark.parametrize(("name", "field"), Parameters.model_fields.items())
def test_every_parameter_has_an_example_that_is_valid(name: str, field: FieldInfo) -> None:
    assert field.examples
    for example in field.examples:
        assert getattr(Parameters.load({name: example}), name) == example


@pytest.mark.parametrize(("name", "value", "_"), INVALID)
def test_no_regular_expression_is_shown(name: str, value: Any, _: str) -> None:
    with pytest.raises(ParameterError) as caught:
        Parameters.load({name: value})
    assert not re.search(r"pattern|\[0-9|\^|\$", caught.value.what)


def test_every_parameter_has_its_limits_in_the_tables() -> None:
    assert {name for name, _ in VALID} == set(Parameters.model_fields)
    assert {name for name, _, _ in INVALID} == set(Parameters.model_fields)


def test_why_a_confidential_value_is_refused() -> None:
    with pytest.raises(ParameterError, match="may end up in billing and diagnostic logs"):
        Parameters.load({"tags": {"owner": "jane@example.com"}})


@pytest.mark.parametrize(
    "values",
    [
        {"tags": {"x": "AKIAIOSFODNN7EXAMPLE"}},
        {"tags": {"AKIAIOSFODNN7EXAMPLE": "x"}},
        {"tags": {"x": "https://ann:AKIAIOSFODNN7EXAMPLE@example.com"}},
        {"tags": {"password": "AKIA-hunter2-EXAMPLE"}},
        {"tags": "password=AKIA-hunter2-EXAMPLE"},
        {"key_alias": "alias/AKIAIOSFODNN7EXAMPLE"},
        {"workflow_name": "AKIAIOSFODNN7EXAMPLE"},
        {"run_id": "token=AKIA-hunter2-EXAMPLE"},
        {"region": "AKIAIOSFODNN7EXAMPLE"},
        {"run_id": "a b", "tags": {"AKIAIOSFODNN7EXAMPLE": "x"}},
    ],
)
def test_a_secret_is_never_shown(values: dict[str, Any]) -> None:
    with pytest.raises(ParameterError) as caught:
        Parameters.load(values)
    shown = f"{caught.value} {caught.value.to_dict()} {caught.value._render_traceback_()}"
    assert "AKIA" not in shown
    assert "looks like" in shown
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


def test_an_ordinary_value_is_shown_and_a_long_one_is_cut() -> None:
    with pytest.raises(ParameterError, match="run_id = 'a b': "):
        Parameters.load({"run_id": "a b"})
    with pytest.raises(ParameterError) as caught:
        Parameters.load({"run_id": "b " * 500})
    assert len(caught.value.what) < 400


def test_unknown_names_are_refused_and_the_valid_ones_named() -> None:
    with pytest.raises(ParameterError, match="no parameter 'key_alais'") as caught:
        Parameters.load({"key_alais": "alias/x"})
    assert caught.value.exit_status == 2
    for name in Parameters.model_fields:
        assert name in caught.value.fix


def test_all_that_is_wrong_is_said_at_once() -> None:
    with pytest.raises(ParameterError) as caught:
        Parameters.load({"region": "x", "pending_window_days": 1, "nonsense": 0})
    for part in ("region = 'x'", "pending_window_days = 1", "no parameter 'nonsense'"):
        assert part in caught.value.what


def test_the_names_of_a_run_fit_where_they_go() -> None:
    """An IAM policy's name has up to 128 characters of [\\w+=,.@-]; a Sid letters and digits."""
    from keyrunbook.policies import role_policy
    from keyrunbook.steps.grant_access import policy_name

    run_id = "Z_-" + "a" * 61
    assert Parameters.load({"run_id": run_id}).run_id == run_id
    assert re.fullmatch(r"[\w+=,.@-]{1,128}", policy_name(run_id), re.ASCII)
    (statement,) = role_policy(run_id, KEY, "aws", "111122223333")["Statement"]
    assert re.fullmatch(r"[A-Za-z0-9]+", statement["Sid"])


# Together


BUILD: dict[str, Any] = {
    "run_build": True,
    "build_recipe": BUILDER + "image-recipe/base/1.0.0",
    "build_infrastructure": BUILDER + "infrastructure-configuration/base",
}
EUROPE = "arn:aws:kms:eu-central-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"
CONTRADICTIONS: list[tuple[Target, str | None, dict[str, Any], list[str]]] = [
    ("sandbox", None, {"profile": "p"}, ["profile = 'p'", "no meaning on the sandbox"]),
    ("sandbox", None, {"use_fips": True}, ["use_fips = True", "no meaning on the sandbox"]),
    ("aws", "us-west-2", {"key_arn": EUROPE}, ["eu-central-1", "us-west-2", EUROPE]),
    ("sandbox", "us-west-2", {"key_arn": EUROPE}, ["eu-central-1", "us-west-2"]),
    (
        "aws",
        None,
        {"account": "444455556666", "execution_role": f"{ROLE}R"},
        ["444455556666", "111122223333"],
    ),
    ("aws", None, {"run_build": True}, ["build_recipe is not set"]),
    ("aws", None, {**BUILD, "build_infrastructure": None}, ["build_infrastructure is not set"]),
    ("aws", None, {**BUILD, "run_build": None}, ["no meaning without a build on AWS"]),
    ("sandbox", None, BUILD, ["build_recipe", "no meaning without a build on AWS"]),
    ("aws", "us-west-2", BUILD, ["build_recipe", "is not of the Region us-west-2"]),
]


@pytest.mark.parametrize(("target", "region", "given", "named"), CONTRADICTIONS)
def test_parameters_that_contradict_each_other(
    target: Target, region: str | None, given: dict[str, Any], named: list[str]
) -> None:
    with pytest.raises(ParameterError) as caught:
        check_together(Parameters(**given), target, region)
    for word in named:
        assert word in caught.value.what


@pytest.mark.parametrize(
    ("target", "region", "given"),
    [
        ("sandbox", None, {}),
        ("aws", "eu-central-1", {"profile": "p", "use_fips": True, "key_arn": EUROPE}),
        # A key of a central account is legitimate; only its Region must agree.
        ("aws", "eu-central-1", {"account": "444455556666", "key_arn": EUROPE}),
        ("aws", None, {"account": "111122223333", "execution_role": f"{ROLE}R"}),
        ("aws", None, {"account": "444455556666", "execution_role": "R"}),
        ("aws", "cn-north-1", BUILD),
        ("aws", None, BUILD),
        ("sandbox", None, {"run_build": True}),
    ],
)
def test_parameters_that_go_together(
    target: Target, region: str | None, given: dict[str, Any]
) -> None:
    check_together(Parameters(**given), target, region)


# From a notebook


def notebook(*cells: str, **names: Any) -> dict[str, Any]:
    """What `globals()` holds after these cells."""
    namespace: dict[str, Any] = {"In": ["", *cells], "__name__": "__main__"}
    for cell in cells:
        exec(cell, namespace)
    return {**namespace, **names}


OWN = "# Parameters\nrun_id = None\ntarget = 'sandbox'\nkey_alias = 'alias/a'\n"


def test_a_notebook_s_own_values() -> None:
    found = Parameters.from_notebook(notebook(OWN, "other = 1", display=print))
    assert (found.run_id, found.target, found.key_alias) == (None, "sandbox", "alias/a")


def test_papermill_s_values_come_after_and_count() -> None:
    found = Parameters.from_notebook(
        notebook(OWN, "# Parameters\nrun_id = 'x'\ntags = {'a': 'b'}\n")
    )
    assert (found.run_id, found.tags) == ("x", {"a": "b"})


def test_an_unknown_name_in_papermill_s_cell_is_refused() -> None:
    with pytest.raises(ParameterError, match="no parameter 'key_alais'"):
        Parameters.from_notebook(notebook(OWN, '# Parameters\nkey_alais = "alias/y"\n'))


def test_an_annotated_name_in_a_parameters_cell_counts_too() -> None:
    with pytest.raises(ParameterError, match="no parameter 'key_alais'"):
        Parameters.from_notebook(notebook("# Parameters\nkey_alais: str = 'alias/y'\n"))


def test_a_parameters_cell_that_failed_assigned_nothing() -> None:
    namespace = notebook(OWN)
    namespace["In"].append("# Parameters\nrun_id = = 'x'")
    assert Parameters.from_notebook(namespace).run_id is None


# The document


@pytest.fixture
def notebooks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project of its own, with one workflow document."""
    folder = tmp_path / "notebooks"
    (folder / "workflows").mkdir(parents=True)
    (folder / "workflows" / "mine.yaml").write_text("name: mine\n", encoding="utf-8")
    (tmp_path / "secret.yaml").write_text("name: x\n", encoding="utf-8")
    monkeypatch.setattr(module, "project_dir", lambda: tmp_path)
    return folder


def test_the_committed_documents_are_read() -> None:
    folder = project_dir() / "notebooks"
    for path in folder.glob("workflows/*.yaml"):
        name = path.relative_to(folder).as_posix()
        assert workflow_document(Parameters(workflow_file=name)) == path.read_text("utf-8")


@pytest.mark.parametrize(
    "name", ["../secret.yaml", "workflows/../../secret.yaml", "/etc/hostname", "link.yaml"]
)
def test_a_document_outside_notebooks_is_refused(notebooks: Path, name: str) -> None:
    (notebooks / "link.yaml").symlink_to(notebooks.parent / "secret.yaml")
    with pytest.raises(ParameterError, match="lies outside notebooks/") as caught:
        workflow_document(Parameters(workflow_file=name))
    assert repr(name) in caught.value.what


def test_a_missing_document_names_those_that_are_there(notebooks: Path) -> None:
    with pytest.raises(ParameterError, match="No such file") as caught:
        workflow_document(Parameters(workflow_file="workflows/yours.yaml"))
    assert "workflows/mine.yaml" in caught.value.fix
    assert str(notebooks) not in str(caught.value)


def test_a_folder_is_no_document(notebooks: Path) -> None:
    with pytest.raises(ParameterError, match="could not be read: Is a directory"):
        workflow_document(Parameters(workflow_file="workflows"))


def test_a_document_in_another_encoding(notebooks: Path) -> None:
    (notebooks / "latin.yaml").write_bytes("name: é\n".encode("latin-1"))
    with pytest.raises(ParameterError, match="is not text in UTF-8"):
        workflow_document(Parameters(workflow_file="latin.yaml"))


def test_a_document_that_is_no_yaml_is_named_with_its_line(notebooks: Path) -> None:
    (notebooks / "bad.yaml").write_text("name: x\nsteps: [\n", encoding="utf-8")
    with pytest.raises(ParameterError, match=r"bad\.yaml' is not YAML: (?s:.*)line 3"):
        workflow_document(Parameters(workflow_file="bad.yaml"))


def test_a_confidential_description_is_named_with_its_line_and_not_shown(notebooks: Path) -> None:
    text = "name: x\ndescription: ask jane@example.com\n"
    (notebooks / "mail.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(ParameterError, match="line 2: the text looks like an e-mail") as caught:
        workflow_document(Parameters(workflow_file="mail.yaml"))
    assert "jane" not in str(caught.value)


def test_the_wait_for_events_has_a_default_by_target() -> None:
    assert event_wait_seconds(Parameters(), "sandbox") == 30
    assert event_wait_seconds(Parameters(), "aws") == 900
    assert event_wait_seconds(Parameters(event_wait_seconds=0), "aws") == 0
