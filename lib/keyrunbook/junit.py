"""Outcomes as JUnit XML, which CI systems show. Pure, but for `write`.

Source: https://github.com/testmoapp/junitxml
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal
from xml.etree import ElementTree

from keyrunbook.errors import RunbookError

_NOT_XML: Final = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(frozen=True, slots=True)
class Case:
    """One outcome: of what (`classname`), its name, and unless it is well, the kind and why."""

    classname: str
    name: str
    kind: Literal["failure", "skipped"] | None = None
    message: str = ""


def suite(name: str, cases: Iterable[Case]) -> str:
    """The XML of one suite of cases."""
    cases = list(cases)
    root = ElementTree.Element("testsuite", name=name, tests=str(len(cases)))
    for one in cases:
        case = ElementTree.SubElement(
            root, "testcase", classname=_xml(one.classname), name=_xml(one.name)
        )
        if one.kind is not None:
            ElementTree.SubElement(case, one.kind, message=_xml(one.message))
    root.set("failures", str(sum(one.kind == "failure" for one in cases)))
    root.set("errors", "0")
    root.set("skipped", str(sum(one.kind == "skipped" for one in cases)))
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def _xml(text: str) -> str:
    """The text without the characters that XML cannot hold."""
    return _NOT_XML.sub("�", text)


def write(text: str, path: Path) -> None:
    """Write the file. Raises RunbookError where it cannot be written."""
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise RunbookError(
            f"{path} cannot be written: {error.strerror}.", "Give another file by --junit."
        ) from error
