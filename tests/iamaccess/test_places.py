"""The line of an error in a document: that of the key, or of the list's element, it points to."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from iamaccess import MalformedPolicy, parse_policy
from iamaccess.places import doubled, escape, line_of, lines

MARK = "the one that is looked for"
KEYS = st.text('a/~"\\{}[],: \n\u00e9', max_size=4)
DOCUMENTS: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | KEYS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=12,
)


def places(document: Any, pointer: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Each pointer below the top, with the object or list that holds it and its key or index."""
    pairs: list[tuple[Any, Any]] = []
    if isinstance(document, dict):
        pairs = [*document.items()]
    elif isinstance(document, list):
        pairs = [*enumerate(document)]
    for key, value in pairs:
        inner = f"{pointer}/{escape(str(key))}"
        yield inner, document, key
        yield from places(value, inner)


@given(DOCUMENTS, st.data())
def test_the_line_of_a_pointer_is_that_of_the_value_put_there(
    document: Any, data: st.DataObject
) -> None:
    found = [*places(document)]
    assume(found)
    pointer, holder, key = data.draw(st.sampled_from(found))
    holder[key] = MARK
    text = json.dumps(document, indent=1)
    wanted = text.count("\n", 0, text.index(MARK)) + 1
    assert line_of(text, pointer) == lines(text)[pointer] == wanted


@given(DOCUMENTS)
def test_each_pointer_has_a_line_whatever_the_layout(document: Any) -> None:
    pointers = {"", *(pointer for pointer, _, _ in places(document))}
    for text in (json.dumps(document), json.dumps(document, separators=("\n,\n", "\n:\n"))):
        assert set(lines(text)) == pointers
        assert all(1 <= line <= text.count("\n") + 1 for line in lines(text).values())


@given(st.lists(KEYS, min_size=1, max_size=5, unique=True), st.data())
def test_a_doubled_key_is_found_where_it_is_doubled(names: list[str], data: st.DataObject) -> None:
    again = data.draw(st.sampled_from(names))
    text = "{\n" + ",\n".join(f"{json.dumps(name)}: 0" for name in [*names, again]) + "\n}"
    assert doubled(text) == (f"/{escape(again)}", len(names) + 2)


def test_the_place_is_in_the_message() -> None:
    text = '{"Statement": [\n  {"Effect": "allow"}\n]}'
    with pytest.raises(MalformedPolicy, match=r"\(at /Statement/0/Effect, line 2\)$"):
        parse_policy(text, kind="resource")


def test_a_document_that_was_no_text_has_no_lines() -> None:
    with pytest.raises(MalformedPolicy, match=r"\(at /Statement/0/Effect\)$") as refused:
        parse_policy({"Statement": [{"Effect": "allow"}]}, kind="resource")
    assert refused.value.line is None


@pytest.mark.parametrize("text", ["[" * 100_000, '{"a":' * 100_000, "1" * 5_000])
def test_what_cannot_be_read_has_no_line(text: str) -> None:
    with pytest.raises(MalformedPolicy) as refused:
        parse_policy(text, kind="resource")
    assert (refused.value.pointer, refused.value.line) == ("", None)
