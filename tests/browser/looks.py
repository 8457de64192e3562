"""How a page looks in both themes and in a narrow window: judged by axe-core, kept as pictures."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

WIDE: Final = 1280
NARROW: Final = 480
HEIGHT: Final = 900
TALLEST: Final = 16_000
"""The greatest height of a picture, in pixels."""
LOOKS: Final[tuple[tuple[Literal["light", "dark"], int], ...]] = (
    ("light", WIDE),
    ("dark", WIDE),
    ("light", NARROW),
)
OPTIONS: Final = {"resultTypes": ["violations"], "preload": False}
"""Style sheets are not fetched once more: that would look like the page's own requests."""
OUR_OUTPUTS: Final = ".jp-NotebookPanel:not(.lm-mod-hidden) .jp-OutputArea-output"

_CONTENT_HEIGHT = """() => {
  const cells = document.querySelectorAll('.jp-NotebookPanel:not(.lm-mod-hidden) .jp-Cell');
  if (!cells.length) return document.documentElement.scrollHeight;
  const [first, last] = [cells[0], cells[cells.length - 1]].map(one => one.getBoundingClientRect());
  return Math.ceil(last.bottom - first.top) + 160;
}"""
_TO_THE_TOP = """() => document.querySelector(
  '.jp-NotebookPanel:not(.lm-mod-hidden) .jp-WindowedPanel-outer')?.scrollTo(0, 0)"""
_SETTLED = """theme => {
  const lab = document.body.dataset.jpThemeLight;
  return lab === undefined || lab === String(theme === 'light');
}"""


@dataclass(frozen=True)
class Looks:
    """`folder` is where pictures go, or None."""

    folder: Path | None

    def check(self, page: Page, name: str, within: str | None = None) -> None:
        """Judge what is `within` a selector, or the whole page, in each look; keep pictures.

        Raises AssertionError with each violation and the element.
        """
        found = []
        size = page.viewport_size
        assert size is not None
        for theme, width in LOOKS:
            with _look(page, theme, width):
                if self.folder:
                    _keep(page, self.folder / f"{name}-{theme}-{width}.png")
                found += [f"{theme}, {width} px: {line}" for line in violations(page, within)]
        page.emulate_media(color_scheme="light")
        page.set_viewport_size(size)
        assert found == [], f"{name}: {len(found)} violations\n" + "\n".join(found)


@contextmanager
def _look(page: Page, theme: Literal["light", "dark"], width: int) -> Iterator[None]:
    """The page in a theme and a width; in a narrow JupyterLab the list of files is put away.

    Other pages are loaded anew, since they look at their width then.
    """
    files = page.locator("#jp-left-stack:visible")
    page.emulate_media(color_scheme=theme)
    page.set_viewport_size({"width": width, "height": HEIGHT})
    page.wait_for_function(_SETTLED, arg=theme)
    aside = width == NARROW and files.count() > 0
    if aside:
        page.keyboard.press("Control+B")
        expect(files).to_have_count(0)
    elif page.locator(".jp-LabShell").count() == 0:
        page.reload()
    yield
    if aside:
        page.keyboard.press("Control+B")
        expect(files).to_have_count(1)


def _keep(page: Page, path: Path) -> None:
    size = page.viewport_size
    assert size is not None
    height = min(page.evaluate(_CONTENT_HEIGHT), TALLEST)
    page.set_viewport_size({"width": size["width"], "height": height})
    page.evaluate(_TO_THE_TOP)
    page.screenshot(path=path)
    page.set_viewport_size(size)


def violations(page: Page, within: str | None = None) -> Iterator[str]:
    """What axe-core finds: the rule, the element, and how to mend it."""
    context = None if within is None else {"include": [[within]]}
    for violation in Axe().run(page, context, OPTIONS).response["violations"]:
        for node in violation["nodes"]:
            yield f"{violation['id']}: {_told(node)}"


def _told(node: Mapping[str, Any]) -> str:
    return f"{node['target']} {node['html'][:200]} {node['failureSummary']}"
