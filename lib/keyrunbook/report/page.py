"""The report as a page: one HTML file that asks nothing of the network, and has no script.

The same report gives the same bytes.
"""

from __future__ import annotations

from typing import Final

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from keyrunbook.report.content import Report
from keyrunbook.show.card import svg
from keyrunbook.show.tables import LONGEST, WHOLE

BEGINNING: Final = '<!doctype html>\n<html lang="en" data-made-by="runbook report">'
"""How each report begins, and by that is known."""


def html(report: Report) -> str:
    """The page, whole."""
    pages = Environment(
        loader=PackageLoader("keyrunbook.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return pages.get_template("page.html").render(
        beginning=Markup(BEGINNING),
        report=report,
        picture=_picture(report),
        marked=Markup,
        stepwise=_stepwise,
        unbroken=_unbroken,
    )


def _picture(report: Report) -> Markup | None:
    """The timeline; None where there is nothing to draw."""
    if not report.timeline.rows:
        return None
    said = f"{report.timeline.title}: a timeline. The list below says the same in words."
    return Markup(svg(report.timeline.figure(), said, "timeline"))


def _unbroken(text: str) -> Markup:
    """A text whose long words, such as ARNs, may be broken in a table, and no others."""
    if WHOLE.fullmatch(text):
        return Markup('<span class="whole">{}</span>').format(text)
    long = Markup('<span class="long">{}</span>')
    words = text.split(" ")
    return Markup(" ").join(long.format(one) if len(one) > LONGEST else one for one in words)


def _stepwise(step: str) -> str:
    """A step's name as a heading: ``01 create key``."""
    return step.replace("_", " ")
