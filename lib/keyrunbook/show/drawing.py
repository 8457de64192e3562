"""matplotlib's Figure, whichever backend the environment names: a picture for a file needs none.

A backend in MPLBACKEND that matplotlib does not know makes its import fail, half done, so that it
cannot be tried again. So matplotlib is imported without it, and told afterwards, for whoever opens
windows in the same process.
"""

from __future__ import annotations

import contextlib
import os
import sys

__all__ = ["ConstrainedLayoutEngine", "Figure", "rc_context"]

_first = "matplotlib" not in sys.modules
_backend = os.environ.pop("MPLBACKEND", None)
try:
    import matplotlib
    import matplotlib.backends.backend_agg
    from matplotlib import rc_context
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine
finally:
    if _backend is not None:
        os.environ["MPLBACKEND"] = _backend
if _first and _backend:
    with contextlib.suppress(ValueError):  # unknown to matplotlib
        matplotlib.rcParams["backend"] = _backend
