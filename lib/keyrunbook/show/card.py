"""What pictures share: a white card, which reads in light and in dark themes, and its text.

Colours have contrast enough on it, and none of them carries meaning alone: shape, hatching and
words say it too. JupyterLab gives PNG outputs no alternative text, so a picture is shown as an HTML
image that has one.
"""

from __future__ import annotations

import base64
import io
from html import escape
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK: Final = "#1f2328"
BLUE: Final = "#0550ae"
GREEN: Final = "#1a7f37"
RED: Final = "#b42318"
GREY: Final = "#6e7781"

_DPI: Final = 110
_EDGE_INCHES: Final = 0.12


def card(width: float, height: float, title: str) -> tuple[Figure, Axes]:
    """An empty picture of that size in inches, without frame and scales, under its title."""
    from keyrunbook.show.drawing import ConstrainedLayoutEngine, Figure

    edges = ConstrainedLayoutEngine(w_pad=_EDGE_INCHES, h_pad=_EDGE_INCHES)
    figure = Figure(figsize=(width, height), facecolor="white", layout=edges)
    axes = figure.add_subplot(autoscale_on=False)  # who draws sets the limits
    axes.set_title(title, loc="left", color=INK, fontsize=11, fontweight="bold")
    axes.set_xticks([])
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    return figure, axes


def png(figure: Figure) -> bytes:
    """The picture as PNG, the same bytes for the same picture."""
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=_DPI, metadata={"Software": None})
    return file.getvalue()


def svg(figure: Figure, alternative: str, name: str) -> str:
    """The picture as an SVG element for a page, the same text for the same picture.

    Letters are drawn as outlines, so that it looks the same on every machine. `name` tells its ids
    from those of other pictures of the page, and `alternative` says what it shows.
    """
    from keyrunbook.show.drawing import rc_context

    file = io.StringIO()
    unsaid = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    with rc_context({"svg.hashsalt": name, "svg.fonttype": "path"}):
        figure.savefig(file, format="svg", metadata=unsaid)
    drawn = file.getvalue()
    element = drawn[drawn.index("<svg ") :].removeprefix("<svg ")
    return f'<svg role="img" aria-label="{escape(alternative)}" {element}'


def bundle(figure: Figure, text: str) -> dict[str, str]:
    """The picture for IPython's display, with `text` beside it and as its alternative text."""
    source = base64.b64encode(png(figure)).decode()
    image = (
        f'<img alt="{escape(text)}" src="data:image/png;base64,{source}" '
        'style="max-width:100%;border-radius:6px">'
    )
    return {"text/plain": text, "text/html": image}
