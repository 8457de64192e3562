"""The parameters as a table, and as a form that says what is wrong while one types."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from keyrunbook import chosen
from keyrunbook.session import parameters_form
from keyrunbook.show.form import ParametersForm

ALIAS = "alias/imagebuilder-workflows"
STEP = "01_create_key"


@pytest.fixture
def namespace(tmp_path: Path) -> dict[str, Any]:
    """The variables of a notebook whose parameters cell has run."""
    return {
        "run_id": "r",
        "outputs_dir": str(tmp_path),
        "target": "sandbox",
        "profile": None,
        "key_alias": ALIAS,
        "rotate_key": None,
        "tags": {},
        "approve": None,
    }


@pytest.fixture
def live(monkeypatch: pytest.MonkeyPatch) -> None:
    """A front end started this kernel."""
    monkeypatch.setenv("JPY_SESSION_NAME", f"{STEP}.ipynb")


def widgets(box: Any) -> Iterator[Any]:
    """All that is in a box."""
    for one in box.children:
        yield one
        if hasattr(one, "children"):
            yield from widgets(one)


class Shown:
    """A form as it is shown: its fields and buttons by their names."""

    def __init__(self, form: ParametersForm) -> None:
        self.box = form.form()
        self.named = {
            one.description: one for one in widgets(self.box) if getattr(one, "description", "")
        }

    def press(self, name: str) -> str:
        self.named[name].click()
        return self.said()

    def said(self) -> str:
        """The last words of the form."""
        text: str = self.box.children[-1].value
        assert text.startswith('<p role="status"')
        return text

    def alerts(self) -> list[str]:
        """The errors that stand beside fields."""
        return [
            one.value
            for one in widgets(self.box)
            if 'role="alert"' in str(getattr(one, "value", ""))
        ]


def form_of(namespace: dict[str, Any]) -> Shown:
    return Shown(parameters_form(STEP, namespace))


def test_without_a_front_end_there_is_a_table_alone(namespace: dict[str, Any]) -> None:
    shown = parameters_form(STEP, namespace)._repr_mimebundle_()
    assert shown.keys() == {"text/plain", "text/html"}
    assert f"key_alias\n    value: {ALIAS}\n    meaning: alias of the key" in shown["text/plain"]


def test_without_a_front_end_nothing_is_read_of_what_was_chosen(
    namespace: dict[str, Any], tmp_path: Path
) -> None:
    (tmp_path / "r").mkdir()
    (tmp_path / "r" / chosen.FORM).write_text("damaged")
    assert "alias/imagebuilder" in parameters_form(STEP, namespace).table().text()


@pytest.mark.usefixtures("live")
def test_with_one_there_is_the_form_and_the_table(namespace: dict[str, Any]) -> None:
    shown, _ = parameters_form(STEP, namespace)._repr_mimebundle_()
    assert shown.keys() == {
        "text/plain",
        "text/html",
        "application/vnd.jupyter.widget-view+json",
    }


@pytest.mark.usefixtures("live")
def test_the_form_offers_what_is_not_of_one_call(namespace: dict[str, Any]) -> None:
    names = set(form_of(namespace).named)
    assert names == {
        *("Key alias", "Rotate key", "Tags", "Target", "Profile"),
        *("Where it runs", "Apply", "Forget"),
    }


@pytest.mark.usefixtures("live")
def test_an_error_stands_beside_its_field_as_one_types(namespace: dict[str, Any]) -> None:
    shown = form_of(namespace)
    shown.named["Key alias"].value = "<x>"
    (alert,) = shown.alerts()
    assert "✗ Key alias: has not the right form, such as &#x27;alias/images&#x27;" in alert
    assert shown.named["Apply"].disabled
    assert "To be corrected: Key alias." in shown.said()
    shown.named["Tags"].value = "team"
    assert len(shown.alerts()) == 2
    shown.named["Key alias"].value = "alias/x"
    shown.named["Tags"].value = "team=x"
    assert shown.alerts() == []
    assert not shown.named["Apply"].disabled


@pytest.mark.usefixtures("live")
def test_what_is_applied_holds_here_and_for_the_run(
    namespace: dict[str, Any], tmp_path: Path
) -> None:
    shown = form_of(namespace)
    shown.named["Key alias"].value = "alias/mine"
    shown.named["Rotate key"].value = False
    said = shown.press("Apply")
    assert "✓ Applied: key_alias = &#x27;alias/mine&#x27;, rotate_key = False." in said
    assert chosen.kept(tmp_path, "r") == {"key_alias": "alias/mine", "rotate_key": False}
    assert chosen.current(tmp_path) == "r"
    assert (namespace["key_alias"], namespace["rotate_key"]) == ("alias/mine", False)


@pytest.mark.usefixtures("live")
def test_run_all_assigns_the_defaults_again_and_what_was_applied_still_holds(
    namespace: dict[str, Any],
) -> None:
    shown = form_of(namespace)
    shown.named["Key alias"].value = "alias/mine"
    shown.press("Apply")
    again = {**namespace, "key_alias": ALIAS}
    assert form_of(again).named["Key alias"].value == "alias/mine"
    assert "From the form: key_alias = 'alias/mine'." in parameters_form(STEP, again).table().note


@pytest.mark.usefixtures("live")
def test_forget_goes_back_to_the_cell_and_leaves_what_other_notebooks_chose(
    namespace: dict[str, Any], tmp_path: Path
) -> None:
    chosen.keep(tmp_path, "r", {"workflow_name": "theirs"})
    shown = form_of(namespace)
    shown.named["Key alias"].value = "alias/mine"
    shown.press("Apply")
    assert "✓ Applied: the defaults." in shown.press("Forget")
    assert shown.named["Key alias"].value == ALIAS
    assert chosen.kept(tmp_path, "r") == {"workflow_name": "theirs"}
    assert namespace["key_alias"] == ALIAS


@pytest.mark.usefixtures("live")
def test_what_the_cell_sets_is_shown_and_cannot_be_changed(
    namespace: dict[str, Any], tmp_path: Path
) -> None:
    namespace |= {"key_alias": "alias/cell", "target": "moon"}
    shown = form_of(namespace)
    assert shown.named["Key alias"].disabled
    assert shown.named["Key alias"].value == "alias/cell"
    assert shown.named["Target"].value.startswith("✗ ")
    assert "Not applied." in shown.press("Apply")
    namespace["target"] = "sandbox"
    shown = form_of(namespace)
    shown.named["Tags"].value = "a=b"
    shown.press("Apply")
    assert chosen.kept(tmp_path, "r") == {"tags": {"a": "b"}}


@pytest.mark.usefixtures("live")
def test_parameters_that_contradict_each_other_are_not_applied(
    namespace: dict[str, Any], tmp_path: Path
) -> None:
    shown = form_of(namespace)
    shown.named["Profile"].value = "p"
    assert "✗ Not applied. profile = &#x27;p&#x27; has no meaning" in shown.press("Apply")
    assert chosen.kept(tmp_path, "r") == {}


@pytest.mark.usefixtures("live")
def test_where_it_runs_is_behind_a_button(namespace: dict[str, Any]) -> None:
    shown = form_of(namespace)
    (place,) = [one for one in widgets(shown.box) if one.layout.display == "none"]
    shown.named["Where it runs"].value = True
    assert place.layout.display is None
    assert shown.named["Target"] in list(widgets(place))
