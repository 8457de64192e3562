"""How an exercise shows: its situation, its check, hints and solution, with and without widgets."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from keyrunbook.show.sentence import Sentence
from keyrunbook.show.tables import SIGNS, Table
from keyrunbook.show.widgets import AS_OUTPUT, bundle, is_live, status

if TYPE_CHECKING:
    from keyrunbook.exercises.exercise import Checked, Exercise

_LONG = 400
"""Characters from which on a fact is cut in the table; the exercise's `facts` have it whole."""


def situation_table(exercise: Exercise[Any]) -> Table:
    """The account, and what the learner is told of it."""
    identity = exercise.account.administrator.identity
    rows = [("account", identity.account), ("you are", identity.arn)]
    told = [one.name for one in fields(exercise.facts) if one.repr]
    for name, value in asdict(exercise.facts).items():
        if name in told:
            text = str(value).rstrip()
            rows.append((f"facts.{name}", text if len(text) < _LONG else f"{text[:64]}…"))
    rows += [(f"answer {name}", text) for name, text in exercise.lesson.questions.items()]
    note = f"Your task: {exercise.lesson.task} All this is on the sandbox, not on AWS."
    return Table(f"Exercise: {exercise.lesson.title}", ("what", "value"), rows, note)


def checked_table(checked: Checked) -> Table:
    """The verdict, and each thing that was looked at."""
    rows = [(one.statement, SIGNS[one.status], one.evidence) for one in checked.findings]
    return Table(f"Check: {checked.title}", ("what AWS holds", "outcome", "because"), rows)


def _text(checked: Checked) -> str:
    return f"{checked.summary}\n\n{checked_table(checked).text()}"


def _html(checked: Checked) -> str:
    shown = status(checked.summary) + checked_table(checked).html()
    return f'<div style="line-height:1.35">{shown}</div>'


def checked_bundle(checked: Checked, **more: Any) -> Any:
    """The check for IPython's display; with buttons where a front end shows them."""
    static = {"text/plain": _text(checked), "text/html": _html(checked)}
    if checked.panel is None or not is_live():
        return static
    shown, metadata = bundle(checked.panel.form(_html(checked)), **more)
    return {**shown, **static}, metadata


@dataclass(frozen=True, slots=True)
class Panel:
    """What the buttons below a check do; each gives something that has HTML."""

    check: Callable[[], Any]
    hint: Callable[[], Any]
    solution: Callable[[], Any]

    def form(self, html: str) -> Any:
        """The check and three buttons, whose answers a screen reader announces: an ipywidgets box.

        Buttons take the keyboard's focus in order, and say what they do.
        """
        import ipywidgets as widgets

        checked, told = widgets.HTML(html), widgets.HTML()
        for one in (checked, told):
            one.add_class(AS_OUTPUT)

        def button(words: str, tooltip: str, pressed: Callable[[], None]) -> Any:
            made = widgets.Button(description=words, tooltip=tooltip)
            made.on_click(lambda _: pressed())
            return made

        def check() -> None:
            told.value = ""
            checked.value = _html(self.check())

        def hint() -> None:
            told.value = status(str(self.hint()))

        def solution() -> None:
            shown = self.solution()._repr_mimebundle_()["text/html"]
            told.value = status("One solution is shown below.") + shown

        buttons = [
            button("Check again", "Look at what AWS holds now", check),
            button("Hint", "The next hint; each says more", hint),
            button("Solution", "One way to solve it", solution),
        ]
        return widgets.VBox([checked, widgets.HBox(buttons), told])


def code_html(summary: str, code: str) -> str:
    """Code that somebody asked for, and may close again."""
    pre = "margin:0;background:none;color:inherit;font-family:monospace;white-space:pre-wrap"
    return (
        f"<details open><summary>{escape(summary)}</summary>"
        f'<pre style="{pre};overflow-wrap:anywhere">{escape(code)}</pre></details>'
    )


def command_line(path: Path) -> Sentence:
    """What to type into a terminal before the aws command."""
    return Sentence(f"In a terminal: . {path}")
