"""A progress bar for the one waiting loop, in a notebook.

It appears only once there is something to wait for. So a notebook whose records are there at once
has the same outputs each time, and no widget state is stored.
"""

from __future__ import annotations

import sys
from html import escape
from typing import Any

from keyrunbook.aws.wait import Waited

_WORTH_A_LINE_S = 1.0


class WaitBar:
    """Shows how long `what` has been waited for; outside of a notebook, one line on stderr."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._handle: Any = None

    def __call__(self, waited: Waited) -> None:
        """Show how the wait stands."""
        if not _in_notebook():
            if self._handle is None and waited.waited_s >= _WORTH_A_LINE_S and not waited.over:
                print(bar(self._what, waited)["text/plain"], file=sys.stderr, flush=True)
                self._handle = True
            return
        if self._handle is None and waited.over:
            return
        from IPython.display import display

        data = bar(self._what, waited)
        if self._handle is None:
            self._handle = display(data, raw=True, display_id=True)  # type: ignore[no-untyped-call]
        else:
            self._handle.update(data, raw=True)


def bar(what: str, waited: Waited) -> dict[str, str]:
    """The bar as HTML and as text; its begin and its end are announced, not each second."""
    seconds, limit = min(waited.waited_s, waited.limit_s), waited.limit_s
    verb = "waited" if waited.over else "waiting"
    text = f"{verb} for {what}: {seconds:.0f} of at most {limit:.0f} seconds"
    element = f'<progress aria-label="{escape(what)}" value="{seconds:.0f}" max="{limit:.0f}">'
    told = ' role="status"' if waited.over or waited.probes <= 1 else ""
    html = f"<p{told}>{element}</progress> {escape(text)}</p>"
    return {"text/plain": text, "text/html": html}


def _in_notebook() -> bool:
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    return shell is not None and hasattr(shell, "kernel")
