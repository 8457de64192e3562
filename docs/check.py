"""Checks the built site: `python docs/check.py build/site [ANOTHER_BUILD]`.

Every link and anchor leads somewhere, nothing is loaded but what the site brings along, every
picture has words, no page names the folder that it was built in; and two builds are the same, byte
by byte. Prints what is wrong, and ends with 1 where something is.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

LOADS = {
    ("script", "src"), ("img", "src"), ("img", "srcset"), ("iframe", "src"), ("embed", "src"),
    ("object", "data"), ("source", "src"), ("source", "srcset"), ("video", "src"),
    ("video", "poster"), ("audio", "src"), ("track", "src"), ("input", "src"), ("form", "action"),
    ("link", "href"), ("image", "href"), ("use", "href"),
}  # fmt: skip
"""What a browser fetches by itself, or, of a form, sends to."""
NOT_LOADED = {"author", "canonical", "help", "index", "license", "next", "prev", "search", "up"}
"""Relations of a `link` that only say something."""
IN_CSS = re.compile(r"""(?:url\(\s*|@import\s+)["']?((?:https?:)?//[^"')\s;]+)""")


@dataclass
class Page(HTMLParser):
    """What a page has: its ids, links, what it loads, pictures without words."""

    ids: set[str] = field(default_factory=set)
    links: list[str] = field(default_factory=list)
    loads: list[str] = field(default_factory=list)
    wordless: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.ids |= {given[name] for name in ("id", "name") if name in given}
        if tag == "a" and "href" in given:
            self.links.append(given["href"])
        if tag == "img" and not given.get("alt", "").strip():
            self.wordless.append(given.get("src", "")[:60])
        says_only = tag == "link" and set(given.get("rel", "").split()) <= NOT_LOADED
        if not says_only:
            self.loads += [value for name, value in given.items() if (tag, name) in LOADS]
        self.loads += IN_CSS.findall(given.get("style", ""))


NONE = Page()
"""What is no page, such as a picture: no place in it has a name."""


def pages(site: Path) -> dict[Path, Page]:
    """The site's pages, read."""
    found = {}
    for path in sorted(site.rglob("*.html")):
        if "_static" not in path.relative_to(site).parts:
            found[path] = Page()
            found[path].feed(path.read_text(encoding="utf-8"))
    return found


def outside(address: str) -> bool:
    """Whether an address leads out of the site."""
    parts = urlsplit(address)
    return bool(parts.netloc) or parts.scheme in ("http", "https", "ftp")


def wrong_links(site: Path, found: Mapping[Path, Page]) -> Iterator[str]:
    """Links and anchors that lead nowhere."""
    for path, page in found.items():
        for link in page.links:
            parts = urlsplit(link)
            if outside(link) or parts.scheme in ("mailto", "data"):
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            if not target.is_relative_to(site) or not target.is_file():
                yield f"{path.relative_to(site)}: {link} leads nowhere"
            elif (place := unquote(parts.fragment)) and place not in found.get(target, NONE).ids:
                yield f"{path.relative_to(site)}: {link} has no such place"


def loaded_from_elsewhere(site: Path, found: Mapping[Path, Page]) -> Iterator[str]:
    """What a browser would ask other hosts for."""
    for path, page in found.items():
        yield from (f"{path.relative_to(site)} loads {one}" for one in page.loads if outside(one))
    for path in sorted(site.rglob("*.css")):
        for address in IN_CSS.findall(path.read_text(encoding="utf-8")):
            yield f"{path.relative_to(site)} loads {address}"


def without_words(site: Path, found: Mapping[Path, Page]) -> Iterator[str]:
    """Pictures that say nothing to who cannot see them."""
    for path, page in found.items():
        yield from (f"{path.relative_to(site)}: no words for {one}" for one in page.wordless)


def of_this_machine(site: Path) -> Iterator[str]:
    """Files that name the folder that the site was built in."""
    folder = str(Path.cwd()).encode()
    for path in sorted(site.rglob("*")):
        if path.is_file() and folder in path.read_bytes():
            yield f"{path.relative_to(site)} names the folder that it was built in"


def differences(one: Path, other: Path) -> Iterator[str]:
    """Files that two builds do not share, or that differ."""
    names = {path.relative_to(site) for site in (one, other) for path in site.rglob("*")}
    for name in sorted(names):
        pair = [site / name for site in (one, other)]
        if not all(path.exists() for path in pair):
            yield f"{name} is in one build only"
        elif pair[0].is_file() and pair[0].read_bytes() != pair[1].read_bytes():
            yield f"{name} differs between two builds"


def problems(site: Path, other: Path | None = None) -> Iterator[str]:
    """All that is wrong with a site."""
    found = pages(site)
    if not found:
        yield f"{site} holds no pages"
    yield from wrong_links(site, found)
    yield from loaded_from_elsewhere(site, found)
    yield from without_words(site, found)
    yield from of_this_machine(site)
    if other is not None:
        yield from differences(site, other)


def main(words: list[str]) -> int:
    """Check, and tell."""
    if len(words) not in (1, 2):
        print(__doc__, file=sys.stderr)
        return 2
    sites = [Path(word).resolve() for word in words]
    wrong = list(problems(*sites))
    print(
        "\n".join(wrong) or f"{len(pages(sites[0]))} pages: links, anchors, pictures are in order"
    )
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
