"""What is chosen in JupyterLab: kept beside the run, and standing in for defaults only."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import Any

import pytest
from keyrunbook import chosen
from keyrunbook.errors import OutputsNotWritable, ParameterError

ALIAS = "alias/imagebuilder-workflows"
MINE, OTHER = "alias/mine", "alias/other"


@pytest.mark.parametrize(
    ("cell", "kept", "marked", "holds", "from_form"),
    [
        pytest.param(ALIAS, {}, {}, ALIAS, False, id="nobody chose"),
        pytest.param(ALIAS, {"key_alias": MINE}, {}, MINE, True, id="the form, for a default"),
        pytest.param(OTHER, {"key_alias": MINE}, {}, OTHER, False, id="the cell wins"),
        pytest.param(MINE, {"key_alias": MINE}, {"key_alias": MINE}, MINE, True, id="run again"),
        pytest.param(MINE, {}, {"key_alias": MINE}, ALIAS, False, id="forgotten elsewhere"),
        pytest.param(
            MINE, {"key_alias": OTHER}, {"key_alias": MINE}, OTHER, True, id="changed elsewhere"
        ),
        pytest.param(
            OTHER, {"key_alias": MINE}, {"key_alias": MINE}, OTHER, False, id="a cell of one's own"
        ),
    ],
)
def test_what_holds(
    cell: str, kept: dict[str, Any], marked: dict[str, Any], holds: str, from_form: bool
) -> None:
    taken = chosen.take({"key_alias": cell, chosen.MARK: marked}, kept, begins=True)
    assert taken.values == {"key_alias": holds}
    assert dict(taken.from_form) == ({"key_alias": holds} if from_form else {})
    assert taken.by_cell == (frozenset() if holds != OTHER or from_form else {"key_alias"})


@pytest.mark.parametrize(("begins", "holds"), [(True, "aws"), (False, "sandbox")])
def test_the_sandbox_is_the_default_target_where_a_run_begins_only(
    begins: bool, holds: str
) -> None:
    taken = chosen.take({"target": "sandbox"}, {"target": "aws"}, begins=begins)
    assert taken.values == {"target": holds}


def test_a_notebook_takes_only_what_it_has() -> None:
    namespace: dict[str, Any] = {"tags": {}, "run": object()}
    taken = chosen.take(namespace, {"tags": {"a": "b"}, "key_alias": MINE}, begins=True)
    chosen.put(namespace, taken)
    assert namespace["tags"] == {"a": "b"}
    assert "key_alias" not in namespace


def test_what_is_kept_is_its_owners_alone_and_comes_back(tmp_path: Path) -> None:
    assert (chosen.current(tmp_path), chosen.kept(tmp_path, "r")) == (None, {})
    chosen.go_on_with(tmp_path, "r")
    chosen.keep(tmp_path, "r", {"key_alias": MINE, "tags": {"team": "ü"}})
    assert chosen.current(tmp_path) == "r"
    assert chosen.kept(tmp_path, "r") == {"key_alias": MINE, "tags": {"team": "ü"}}
    for path in (tmp_path / chosen.CURRENT, tmp_path / "r" / chosen.FORM):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_what_the_model_refuses_is_not_kept(tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match="looks like a secret"):
        chosen.keep(tmp_path, "r", {"tags": {"password": "password=hunter22"}})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("text", ["[]", "{", '{"target": "moon"}', '{"unheard": 1}'])
def test_a_damaged_form_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "r").mkdir()
    (tmp_path / "r" / chosen.FORM).write_text(text)
    with pytest.raises(ParameterError, match=r"r/form\.json is damaged: ") as caught:
        chosen.kept(tmp_path, "r")
    assert "Delete the file" in caught.value.fix


@pytest.mark.parametrize("text", ["", "../elsewhere", "a b"])
def test_a_pointer_that_names_no_run_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / chosen.CURRENT).write_text(text)
    with pytest.raises(ParameterError, match=r"\.current does not name a run"):
        chosen.current(tmp_path)


@pytest.mark.parametrize("name", sorted(chosen.NOT_IN_FORMS))
def test_which_run_it_is_comes_from_no_form(tmp_path: Path, name: str) -> None:
    value = {"run_id": "r", "outputs_dir": "d", "approve": "0" * 64}[name]
    chosen.keep(tmp_path, "r", {name: value})
    assert chosen.kept(tmp_path, "r") == {}


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputsNotWritable, match=r"\.current cannot be written: "):
        chosen.go_on_with(tmp_path / "file", "r")
    with pytest.raises(OutputsNotWritable, match=r"form\.json cannot be written: "):
        chosen.keep(tmp_path, "file", {})
