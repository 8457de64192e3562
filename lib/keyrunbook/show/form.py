"""A notebook's parameters: a table, and where a front end is alive a form to choose them by.

The form is made from `keyrunbook.fields`; what is applied is kept by `keyrunbook.chosen`. Labels
are tied to their fields, errors stand beside them as one types, and announce themselves. A value
that the parameters cell sets is shown and cannot be changed here: Run All would set it again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from html import escape
from pathlib import Path
from typing import Any, Final

from keyrunbook import chosen
from keyrunbook.errors import RunbookError
from keyrunbook.fields import UNSET, Field, as_text, field
from keyrunbook.parameters import Parameters, check_together
from keyrunbook.show.tables import Table
from keyrunbook.show.widgets import bundle, is_live, status

PLACE: Final = ("target", "region", "profile", "account", "use_fips", "read_only")
"""The parameters that say where any notebook works: behind a button, below its own."""
_CHOSEN: Final = ("yes or no", "choice")
"""The kinds that are chosen from a list, not typed."""
_LABEL_WIDTH: Final = "11em"
_YES_OR_NO: Final = (("yes", True), ("no", False))
_NONE: Final = ""
"""A choice's value for None, which ipywidgets takes for no choice at all."""
_SMALL: Final = "display:block;line-height:1.35;overflow-wrap:anywhere"
_BY_CELL: Final = "Set in the parameters cell, so it is changed there."


class ParametersForm:
    """The parameters of a step's notebook, whose ``globals()`` are `namespace`.

    `begins`: a run may begin in this notebook. `run_id` gives the run that choices are kept for:
    the current one may have begun since the form is there.
    """

    def __init__(
        self,
        step: str,
        namespace: dict[str, Any],
        outputs: Path,
        run_id: Callable[[], str],
        *,
        begins: bool,
    ) -> None:
        self._step = step
        self._namespace = namespace
        self._outputs = outputs
        self._run_id = run_id
        self._begins = begins

    def taken(self) -> chosen.Taken:
        """What holds now."""
        kept = chosen.kept(self._outputs, self._run_id()) if is_live() else {}
        return chosen.take(self._namespace, kept, begins=self._begins)

    def table(self) -> Table:
        """Each parameter with its value, what it means, and what it may be."""
        taken = self.taken()
        rows = [
            (name, one.shown(value), one.help, one.limits())
            for name, value in taken.values.items()
            if (one := field(name))
        ]
        note = f"From the form: {_told(taken.from_form)}." if taken.from_form else ""
        columns = ("parameter", "value", "meaning", "valid")
        return Table(f"Parameters of {self._step}", columns, rows, note)

    def form(self) -> Any:
        """The fields, the buttons Apply and Forget, and what came of it: an ipywidgets box."""
        return _Form(self._step, self.taken(), self._keep, begins=self._begins).box

    def _keep(self, values: Mapping[str, Any]) -> None:
        """Keep what differs from the defaults, beside what other notebooks of the run chose."""
        run_id = self._run_id()
        kept = chosen.kept(self._outputs, run_id)
        for name, value in values.items():
            if value == chosen.default_of(name, begins=self._begins):
                kept.pop(name, None)
            else:
                kept[name] = value
        chosen.keep(self._outputs, run_id, kept)
        chosen.go_on_with(self._outputs, run_id)
        chosen.put(self._namespace, chosen.take(self._namespace, kept, begins=self._begins))

    def _repr_mimebundle_(self, **more: Any) -> Any:
        static = self.table().mimebundle()
        if not is_live():
            return static
        shown, metadata = bundle(self.form(), **more)
        return {**shown, **static}, metadata


class _Form:
    """The widgets, and what happens when one types and presses."""

    def __init__(
        self,
        step: str,
        taken: chosen.Taken,
        keep: Callable[[Mapping[str, Any]], None],
        *,
        begins: bool,
    ) -> None:
        import ipywidgets as widgets

        self._keep = keep
        self._begins = begins
        self._rows = {
            name: _Row(field(name), value, self._typed, fixed=name in taken.by_cell)
            for name, value in taken.values.items()
            if name not in chosen.NOT_IN_FORMS
        }
        own = [row.box for name, row in self._rows.items() if name not in PLACE]
        place = [row.box for name, row in self._rows.items() if name in PLACE]
        self._where = widgets.VBox(place, layout=widgets.Layout(display="none"))
        more = widgets.ToggleButton(
            description="Where it runs", tooltip="Target, Region, profile and the like"
        )
        more.observe(self._show_place, names="value")
        self._apply = widgets.Button(
            description="Apply", tooltip="Use these values in this run's notebooks"
        )
        self._forget = widgets.Button(
            description="Forget", tooltip="Go back to the values of the parameters cell"
        )
        self._apply.on_click(self._applied)
        self._forget.on_click(self._forgotten)
        self._said = widgets.HTML()
        if taken.from_form:
            self._say(f"From the form: {_told(taken.from_form)}.")
        title = widgets.HTML(f"<strong>Parameters of {escape(step)}</strong>")
        buttons = widgets.HBox(
            [self._apply, self._forget], layout=widgets.Layout(flex_flow="row wrap")
        )
        self.box = widgets.VBox([title, *own, more, self._where, buttons, self._said])
        if not own:
            more.value = True

    def _show_place(self, change: Mapping[str, Any]) -> None:
        self._where.layout.display = None if change["new"] else "none"

    def _say(self, text: str) -> None:
        self._said.value = status(text)

    def _typed(self) -> None:
        wrong = [row.field.label for row in self._rows.values() if row.problem]
        self._apply.disabled = bool(wrong)
        self._say(f"✗ Not applied yet. To be corrected: {', '.join(wrong)}." if wrong else "")

    def _values(self) -> dict[str, Any]:
        return {name: row.value for name, row in self._rows.items() if not row.fixed}

    def _applied(self, _: Any) -> None:
        values = self._values()
        everything = {name: row.value for name, row in self._rows.items()}
        try:
            target = everything.get("target")
            if target is not None:
                check_together(Parameters.load(everything), target, everything.get("region"))
            self._keep(values)
        except RunbookError as error:
            self._say(f"✗ Not applied. {error.what} {error.fix}")
            return
        changed = {
            name: value
            for name, value in values.items()
            if value != chosen.default_of(name, begins=self._begins)
        }
        what = _told(changed) if changed else "the defaults"
        self._say(f"✓ Applied: {what}. Now run the cells below, or all of them.")

    def _forgotten(self, _: Any) -> None:
        for name, row in self._rows.items():
            if not row.fixed:
                row.value = chosen.default_of(name, begins=self._begins)
        self._applied(None)


class _Row:
    """One field, its help, and what is wrong with it."""

    def __init__(self, field: Field, value: Any, typed: Callable[[], None], *, fixed: bool) -> None:
        import ipywidgets as widgets

        self.field = field
        self.fixed = fixed
        self._given = value
        self.problem = ""
        self._typed = typed
        self._widget = _widget(field, value, disabled=fixed)
        about = " ".join(filter(None, [_sentence(field.help), _valid(field), _BY_CELL * fixed]))
        help_ = widgets.HTML(f'<small style="{_SMALL}">{escape(about)}</small>')
        self._error = widgets.HTML()
        beside = widgets.Layout(margin=f"0 0 0.4em calc({_LABEL_WIDTH} + 0.6em)")
        about_it = widgets.VBox([help_, self._error], layout=beside)
        self.box = widgets.VBox([self._widget, about_it])
        self._widget.observe(self._changed, names="value")

    @property
    def value(self) -> Any:
        """What holds: as it was given, where it is fixed."""
        return self._given if self.fixed else self._read()

    @value.setter
    def value(self, value: Any) -> None:
        is_text = self.field.kind in ("text", "number", "mapping")
        self._widget.value = as_text(value) if is_text else value

    def _read(self) -> Any:
        given = self._widget.value
        return (
            self.field.read(given) if isinstance(given, str) and not self.field.choices else given
        )

    def _changed(self, _: Any) -> None:
        try:
            self.problem = self.field.wrong(self._read())
        except ValueError as error:
            self.problem = str(error)
        text = f"✗ {self.field.label}: {self.problem}"
        self._error.value = (
            f'<strong role="alert" style="{_SMALL}">{escape(text)}</strong>' if self.problem else ""
        )
        self._typed()


def _widget(field: Field, value: Any, *, disabled: bool) -> Any:
    import ipywidgets as widgets

    common = {
        "description": field.label,
        "disabled": disabled,
        "description_allow_html": False,
        "style": {"description_width": _LABEL_WIDTH},
        "layout": widgets.Layout(width="auto", max_width="44em"),
    }
    if disabled:  # whatever the cell has set it to
        return widgets.Text(value=field.shown(value), **common)
    if field.kind in _CHOSEN:
        unset = [(UNSET, _NONE)] if field.optional else []
        choices = [(one, one) for one in field.choices] or _YES_OR_NO
        return widgets.Dropdown(
            options=[*unset, *choices], value=_NONE if value is None else value, **common
        )
    if field.kind == "mapping":
        return widgets.Textarea(value=as_text(value), rows=2, placeholder=field.example, **common)
    placeholder = UNSET if field.optional else field.example
    return widgets.Text(value=as_text(value), placeholder=placeholder, **common)


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}." if text else ""


def _valid(field: Field) -> str:
    return "" if field.kind in _CHOSEN else f"Valid: {field.limits()}."


def _told(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} = {value!r}" for name, value in values.items())
