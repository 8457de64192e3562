"""What looks confidential, and so must not stand in names, tags and descriptions.

AWS asks never to put confidential information into them: they may be used for billing or
diagnostic logs, and a URL to an external server should not hold credentials. Where such a thing
got into what is to be shown all the same, `without_secrets` leaves it out.
Source: https://docs.aws.amazon.com/imagebuilder/latest/userguide/data-protection.html
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

import yaml

_E_MAIL = re.compile(r"[\w.+-]+@[\w-]+\.[\w.-]+")
_URL_WITH_CREDENTIALS = re.compile(
    r"[a-z][a-z0-9+.-]*://[^/\s:@]*:[^/\s@]+@"
    r"|[?&]x-amz-(signature|credential|security-token)=",
    re.IGNORECASE,
)
_WORD = r"(?<![A-Za-z])(?:password|passwd|pwd|secret|token|api[-_]?key|access[-_]?key)"
_SECRETS = (
    re.compile(r"(?<![A-Za-z0-9])(AKIA|ASIA)[A-Z0-9]{16}(?![A-Za-z0-9])"),
    re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----"),
    re.compile(r"(?<![A-Za-z0-9])(ghp|gho|ghs|github_pat|glpat|xox[abpr])[-_][A-Za-z0-9_-]{16,}"),
    re.compile(r"(?<![A-Za-z0-9])eyJ[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{10,}\."),
    # In an ARN such a word stands between colons: arn:aws:secretsmanager:…:secret:NAME
    re.compile(rf"(?<!:){_WORD}\s*:\s*[^\s/]", re.IGNORECASE),
    re.compile(rf"{_WORD}\s*=\s*\S", re.IGNORECASE),
)
_ACCESS_KEY = re.compile(r"(?<![A-Za-z0-9/+=])[A-Za-z0-9/+]{40}(?![A-Za-z0-9/+=])")
_WORDLIKE = re.compile(r"[a-z]{3,}|[0-9]{4,}")
_LEAST_OF_WORDS = 18

LEFT_OUT: Final = "[left out]"
"""What stands in the place of what looks confidential."""
_VALUE = r"""(?:\\?"[^"\\]*\\?"?|\\?'[^'\\]*\\?'?|[^\s"'\\,;&<>)\]}]+|\S)"""
_LEAVES_OUT: Final = (
    (
        re.compile(
            r"-----BEGIN [A-Z ]*PRIVATE KEY-----[^\"]*?(-----END [A-Z ]*KEY-----|(?=\")|\Z)"
        ),
        "",
    ),
    (re.compile(r"([a-z][a-z0-9+.-]*://)[^/\s:@]*:[^/\s@]+(?=@)", re.IGNORECASE), r"\1"),
    (
        re.compile(
            r"([?&])x-amz-(?:signature|credential|security-token)=[^\s&\"'<>]*", re.IGNORECASE
        ),
        r"\1",
    ),
    (_SECRETS[0], ""),
    (re.compile(r"(?<![A-Za-z0-9])(ghp|gho|ghs|github_pat|glpat|xox[abpr])[-_][\w-]{16,}"), ""),
    (re.compile(r"(?<![A-Za-z0-9])eyJ[\w-]{10,}\.eyJ[\w-]{10,}\.[\w-]*"), ""),
    (re.compile(rf"(?<!:)({_WORD})\s*:\s*(?=[^\s/]){_VALUE}", re.IGNORECASE), r"\1 "),
    (re.compile(rf"({_WORD})\s*=\s*{_VALUE}", re.IGNORECASE), r"\1 "),
    (re.compile(rf"({_WORD})(\\?\"\s*:\s*\\?\")[^\"\\]+", re.IGNORECASE), r"\1\2"),
)
"""What to leave out, and what of it stays: the name of a password, the scheme of a URL."""
_ARN_OR_E_MAIL = re.compile(rf"(arn:[^\s\"',;]+)|{_E_MAIL.pattern}")
_SECRET_NAME = re.compile(r"(password|passwd|pwd|secret|token|api[-_]?key|access[-_]?key)$", re.I)


def sensitive(text: str) -> str | None:
    """What confidential thing `text` looks like ("an e-mail address", …), or None."""
    if _URL_WITH_CREDENTIALS.search(text):
        return "a URL with credentials"
    if _E_MAIL.search(text):
        return "an e-mail address"
    if any(pattern.search(text) for pattern in _SECRETS):
        return "a secret"
    if any(_random(word) for word in _ACCESS_KEY.findall(text)):
        return "a secret"
    return None


def without_secrets(value: Any) -> Any:
    """A JSON value without what looks confidential in its texts, `LEFT_OUT` in its place.

    The ARN of a session stays whole, with the e-mail address that names who called.
    """
    if isinstance(value, Mapping):
        return {
            without_secrets(name): LEFT_OUT
            if isinstance(one, str) and _SECRET_NAME.search(name)
            else without_secrets(one)
            for name, one in value.items()
        }
    if isinstance(value, list | tuple):
        return [without_secrets(one) for one in value]
    return _without(value) if isinstance(value, str) else value


def _without(text: str) -> str:
    for pattern, stays in _LEAVES_OUT:
        text = pattern.sub(stays + LEFT_OUT, text)
    text = _ACCESS_KEY.sub(lambda found: LEFT_OUT if _random(found[0]) else found[0], text)
    return _ARN_OR_E_MAIL.sub(lambda found: found[1] or LEFT_OUT, text)


def lines_with_credentials(text: str) -> list[int]:
    """The lines (from 1) of a document in which a URL holds credentials."""
    lines = text.splitlines()
    return [at for at, line in enumerate(lines, 1) if _URL_WITH_CREDENTIALS.search(line)]


def sensitive_description(document: str) -> tuple[int, str] | None:
    """The line (from 1) and the kind of a confidential name or description in a document.

    `document` is a workflow document, YAML.

    Raises:
        yaml.YAMLError: it is not YAML.
    """
    for line, text in _descriptions(yaml.compose(document, Loader=yaml.SafeLoader)):
        if found := sensitive(text):
            return line, found
    return None


def _descriptions(root: yaml.Node | None) -> Iterator[tuple[int, str]]:
    seen: set[int] = set()  # YAML's anchors can make a node hold itself
    nodes = [root]
    while nodes:
        node = nodes.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        if isinstance(node, yaml.SequenceNode):
            nodes.extend(reversed(node.value))
        elif isinstance(node, yaml.MappingNode):
            for key, value in node.value:
                if key.value in ("name", "description") and isinstance(value, yaml.ScalarNode):
                    yield value.start_mark.line + 1, value.value
            nodes.extend(value for _, value in reversed(node.value))


def _random(word: str) -> bool:
    """Whether 40 characters look like a secret access key rather than a path of words.

    Of a random one, six characters in the mean stand in runs like those of words and years.
    """
    mixed = all(any(kind(c) for c in word) for kind in (str.isupper, str.islower, str.isdigit))
    return mixed and sum(map(len, _WORDLIKE.findall(word))) < _LEAST_OF_WORDS
