"""The check of the built site sees what is wrong: each kind, in a site of one page."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest
from doc_pages import DOCS


def load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("docs_check", DOCS / "check.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look there
    spec.loader.exec_module(module)
    return module


check = load()
OTHER = '<h1 id="here">Other</h1>'


def site(folder: Path, body: str) -> Path:
    folder.mkdir()
    (folder / "index.html").write_text(body, encoding="utf-8")
    (folder / "other.html").write_text(OTHER, encoding="utf-8")
    return folder


@pytest.mark.parametrize(
    "body",
    [
        '<a href="other.html#here">x</a>',
        '<a href="#a">x</a><p id="a">',
        '<a href="https://aws.amazon.com/">AWS</a>',
        '<link rel="canonical" href="https://example.com/">',
        '<img src="data:image/png;base64,AA" alt="a picture">',
        '<script src="other.html"></script>',
    ],
)
def test_what_is_in_order(tmp_path: Path, body: str) -> None:
    assert list(check.problems(site(tmp_path / "site", body))) == []


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ('<a href="gone.html">x</a>', "gone.html leads nowhere"),
        ('<a href="../other.html">x</a>', "../other.html leads nowhere"),
        ('<a href="other.html#there">x</a>', "other.html#there has no such place"),
        ('<a href="#a">x</a>', "#a has no such place"),
        ('<script src="https://cdn.example.com/x.js"></script>', "loads https://cdn"),
        ('<script src="//cdn.example.com/x.js"></script>', "loads //cdn"),
        ('<link rel="stylesheet" href="https://example.com/x.css">', "loads https://"),
        ('<link rel="preconnect" href="https://example.com">', "loads https://"),
        ('<p style="background: url(https://example.com/x.png)">', "loads https://"),
        ('<img src="https://example.com/x.png" alt="x">', "loads https://"),
        ('<img src="data:image/png;base64,AA">', "no words for data:image"),
    ],
)
def test_what_is_wrong(tmp_path: Path, body: str, says: str) -> None:
    [found] = check.problems(site(tmp_path / "site", body))
    assert says in found


def test_a_style_sheet_that_asks_the_network(tmp_path: Path) -> None:
    one = site(tmp_path / "site", "")
    (one / "x.css").write_text('@import "https://fonts.example.com/x.css";')
    assert list(check.problems(one)) == ["x.css loads https://fonts.example.com/x.css"]


def test_the_folder_of_the_build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    [found] = check.problems(site(tmp_path / "site", f"<p>{tmp_path}/lib"))
    assert found == "index.html names the folder that it was built in"


def test_a_site_without_pages(tmp_path: Path) -> None:
    assert "holds no pages" in next(check.problems(tmp_path))


def test_two_builds(tmp_path: Path) -> None:
    one, same = site(tmp_path / "one", "<p>1"), site(tmp_path / "same", "<p>1")
    other = site(tmp_path / "other", "<p>2")
    (other / "more.html").write_text(OTHER)
    assert list(check.problems(one, same)) == []
    assert list(check.problems(one, other)) == [
        "index.html differs between two builds",
        "more.html is in one build only",
    ]
