"""What a person does with a notebook in JupyterLab, with the mouse or by keyboard, and sees there.

Nothing sleeps: each act waits for the state that it brings about.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from playwright.sync_api import ConsoleMessage, Locator, Page, Request, WebSocket, expect

HERE = {"127.0.0.1", "localhost", ""}
"""The hosts of this machine; addresses without a host (data:, blob:, file:) need no network."""
RUN_S = 60.0
"""The longest that all cells of a notebook may take."""

MOST_TABS = 80
"""How often Tab may have to be pressed: more is no way to work."""

_FOCUSED = """([tag, texts]) => {
  const focused = document.activeElement;
  return focused.matches(tag) && texts.includes(focused.textContent.trim());
}"""
_IN_RED = (
    '[data-mime-type="application/vnd.jupyter.stderr"],'
    '[data-mime-type="application/vnd.jupyter.error"]'
)
_BLANK = "prompts => prompts.forEach(prompt => prompt.textContent = '')"
_ENDED = r"""() => {
  const notebook = document.querySelector('.jp-NotebookPanel:not(.lm-mod-hidden)');
  const prompts = [...notebook.querySelectorAll('.jp-CodeCell .jp-InputPrompt')];
  const status = notebook.querySelector('.jp-Notebook-ExecutionIndicator').dataset.status;
  const ran = prompts.filter(prompt => /^\[\d+\]:$/.test(prompt.textContent));
  const wait = prompts.some(prompt => !prompt.textContent || /\*/.test(prompt.textContent));
  return status === 'idle' && !wait && ran.length > 0;
}"""


@dataclass
class Watched:
    """What went on behind a page: requests that left the machine, and errors in the console."""

    left: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    def watch(self, page: Page) -> None:
        """Listen from now on; the page's pop-ups as well."""
        page.on("request", self._request)
        page.on("websocket", self._socket)
        page.on("console", self._console)
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("popup", self.watch)

    def _request(self, request: Request) -> None:
        self._seen(request.url)

    def _socket(self, socket: WebSocket) -> None:
        self._seen(socket.url)

    def _seen(self, address: str) -> None:
        if (urlsplit(address).hostname or "") not in HERE:
            self.left.append(address)

    def _console(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self.errors.append(f"{message.text} ({message.location.get('url')})")


class Notebook:
    """The notebook in sight."""

    def __init__(self, page: Page, name: str = "") -> None:
        self.page = page
        self.name = name

    @property
    def panel(self) -> Locator:
        """The notebook with its toolbar."""
        return self.page.locator(".jp-NotebookPanel:not(.lm-mod-hidden)")

    @property
    def outputs(self) -> Locator:
        """All that its cells showed."""
        return self.panel.locator(".jp-OutputArea-output")

    @property
    def failed(self) -> Locator:
        """What its cells failed with, or warned of."""
        return self.outputs.and_(self.panel.locator(_IN_RED))

    def all_ran(self) -> None:
        """Each cell has run, and none failed or warned."""
        expect(self.failed).to_have_count(0)
        not_run = self.panel.locator(".jp-CodeCell .jp-InputPrompt").filter(has_text="[ ]:")
        expect(not_run).to_have_count(0)

    def output_with(self, text: str | re.Pattern[str]) -> Locator:
        """The output that holds a text."""
        return self.outputs.filter(has_text=text)

    @property
    def status(self) -> Locator:
        """What a screen reader announces."""
        return self.panel.get_by_role("status")

    def button(self, name: str) -> Locator:
        """A button of its outputs."""
        return self.outputs.get_by_role("button", name=name, exact=True)

    def idle(self) -> None:
        """Wait until its kernel can be asked; "idle" is also said before there is one."""
        expect(self.panel.locator(".jp-KernelName")).to_contain_text("Python 3", timeout=30_000)
        status = self.panel.locator(".jp-Notebook-ExecutionIndicator")
        expect(status).to_have_attribute("data-status", "idle", timeout=30_000)

    def field(self, label: str) -> Locator:
        """A field of its forms."""
        return self.outputs.get_by_label(label, exact=True)

    def run_until(self, sight: Locator) -> None:
        """Run cell after cell from the top by Shift+Enter, until something is in sight."""
        self.panel.locator(".jp-Cell").first.click()
        self.page.keyboard.press("Escape")
        for _ in range(self.panel.locator(".jp-Cell").count()):
            self.page.keyboard.press("Shift+Enter")
            self.idle()
            if sight.is_visible():
                return
        expect(sight).to_be_visible()

    def write(self, cell: str, code: str) -> None:
        """Type code into the cell that begins with a text, in place of it, and run it."""
        self.panel.locator(".jp-CodeCell").filter(has_text=cell).locator(".cm-content").click()
        self.page.keyboard.press("Control+A")
        self.page.keyboard.insert_text(code)
        self.page.keyboard.press("Control+Enter")
        self.idle()

    @contextmanager
    def running(self, timeout_s: float = RUN_S) -> Iterator[None]:
        """Begin to run all cells inside; at the end every cell has run, or one has failed."""
        self.idle()
        self.panel.locator(".jp-CodeCell .jp-InputPrompt").evaluate_all(_BLANK)
        yield
        self.page.wait_for_function(_ENDED, timeout=timeout_s * 1000)

    def run_all(self) -> None:
        """Run All Cells with the mouse, from the menu."""
        with self.running():
            self.menu("Run", "Run All Cells")

    def run_all_by_keyboard(self) -> None:
        """Run All Cells by keyboard, from the palette of commands."""
        with self.running():
            self.command("Run All Cells")

    def follow(self, name: str) -> Notebook:
        """Go to another notebook by the last link to it, with the mouse."""
        named = re.compile(rf"^{re.escape(name.removesuffix('.ipynb'))}(\.ipynb)?$")
        self.panel.get_by_role("link", name=named).last.click()
        return shown(self.page, name)

    def follow_by_keyboard(self, name: str) -> Notebook:
        """The same by keyboard: Tab goes from link to link."""
        self.tab_to("a", name, name.removesuffix(".ipynb"))
        self.page.keyboard.press("Enter")
        return shown(self.page, name)

    def tab_to(self, tag: str, *texts: str) -> None:
        """Press Tab until what has one of these texts has the focus."""
        for _ in range(MOST_TABS):
            self.page.keyboard.press("Tab")
            if self.page.evaluate(_FOCUSED, [tag, texts]):
                return
        raise AssertionError(f"{self.name}: no Tab leads to {texts[0]!r}")

    def restart(self) -> None:
        """A fresh kernel with nothing in it, and no outputs, with the mouse."""
        self.menu("Kernel", "Restart Kernel and Clear Outputs of All Cells…")
        self.page.get_by_role("dialog").get_by_role("button", name="Confirm Kernel Restart").click()
        expect(self.outputs).to_have_count(0)
        self.idle()

    def menu(self, name: str, item: str) -> None:
        """Choose from JupyterLab's menu bar."""
        self.page.get_by_role("menuitem", name=name, exact=True).click()
        self.page.get_by_role("menuitem", name=item, exact=True).click()

    def command(self, name: str) -> None:
        """Choose from the palette of commands, by keyboard."""
        self.page.keyboard.press("Control+Shift+C")
        palette = self.page.locator(".lm-CommandPalette")
        expect(palette.locator("input")).to_be_focused()
        self.page.keyboard.type(name)
        expect(palette.locator(".lm-mod-active")).to_contain_text(name)
        self.page.keyboard.press("Enter")
        expect(palette).to_be_hidden()


def entered(page: Page, address: str) -> Notebook:
    """Open the address that `runbook lab` prints, as its browser does: the start notebook."""
    page.goto(address)
    return shown(page, "start.ipynb")


def shown(page: Page, name: str) -> Notebook:
    """Wait until a notebook is in sight, with its kernel."""
    tab = page.locator(".lm-TabBar-tab.lm-mod-current").filter(has_text=name)
    expect(tab).to_be_visible()
    notebook = Notebook(page, name)
    expect(notebook.panel).to_have_count(1)
    notebook.idle()
    return notebook


def opened(page: Page, path: str) -> Notebook:
    """Open a notebook by its path, from JupyterLab's menu."""
    Notebook(page).menu("File", "Open from Path…")
    page.get_by_role("dialog").locator("input").fill(path)
    page.keyboard.press("Enter")
    return shown(page, path.rpartition("/")[2])
