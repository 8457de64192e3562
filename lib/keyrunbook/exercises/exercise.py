"""An exercise: a situation in an account of its own, a check of what AWS holds, hints, a solution.

The check never looks at what was typed: whatever brings AWS into the wanted state solves it.
"""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Generic, TypeVar

from botocore.exceptions import ClientError

from keyrunbook import access
from keyrunbook.access import Matrix
from keyrunbook.aws import who
from keyrunbook.aws.refusals import code_of
from keyrunbook.errors import ParameterError
from keyrunbook.exercises.account import ADMINISTRATOR, Account
from keyrunbook.findings import Finding, Findings
from keyrunbook.show.exercises import Panel, code_html, command_line, situation_table
from keyrunbook.show.sentence import Sentence

Facts = TypeVar("Facts")
Given = TypeVar("Given")

_GONE: Final = {
    "NotFoundException",
    "ResourceNotFoundException",
    "NoSuchEntity",
    "NoSuchBucket",
    "TrailNotFoundException",
}
"""The codes by which AWS says that something is not there."""


_SHORT: Final = 160
"""Characters of evidence that are read out with the verdict."""


@dataclass(frozen=True, slots=True)
class Lesson(Generic[Facts]):
    """What is the same for all who take an exercise.

    `situation` sets an account up and gives the facts that the learner is told; `check` reads AWS
    and gives findings, all of which pass where it is solved; `moral` is what one has learned then.
    `hints` get more specific. `solution` is one way, as a learner would type it: its source is
    shown, and its one argument is the exercise.
    """

    title: str
    minutes: int
    learn: str
    task: str
    situation: Callable[[Account], Facts]
    check: Callable[[Exercise[Facts]], list[Finding]]
    moral: str
    hints: tuple[str, ...]
    solution: Callable[[Exercise[Facts]], None]
    questions: Mapping[str, str] = field(default_factory=dict)
    """What is to be answered, by the names that `Exercise.answer` takes."""


@dataclass(frozen=True, slots=True)
class Checked:
    """How an exercise stands, and why: findings about what AWS holds now."""

    title: str
    findings: Findings
    moral: str
    panel: Panel | None = field(default=None, repr=False, compare=False)

    @property
    def solved(self) -> bool:
        """Whether everything is as wanted; what could not be checked is not."""
        return all(one.status == "pass" for one in self.findings)

    @property
    def summary(self) -> str:
        """The verdict in few words, to stand above the findings; long evidence is only there."""
        if self.solved:
            return f"✓ Solved. {self.moral}"
        still = [
            f"{one.statement} ({one.evidence})" if len(one.evidence) <= _SHORT else one.statement
            for one in self._still()
        ]
        return f"✗ Not yet. Still wanted: {'; '.join(still)}."

    @property
    def text(self) -> str:
        """The verdict, with what is still so."""
        if self.solved:
            return self.summary
        return "✗ Not yet. " + " ".join(
            f"Wanted: {one.statement}. So far: {one.evidence}." for one in self._still()
        )

    def _still(self) -> list[Finding]:
        return [one for one in self.findings if one.status != "pass"]

    def _repr_mimebundle_(self, **more: Any) -> Any:
        from keyrunbook.show.exercises import checked_bundle

        return checked_bundle(self, **more)


class Exercise(Generic[Facts]):
    """One learner's go at a lesson. Opening it again begins anew, in another account."""

    def __init__(self, name: str, lesson: Lesson[Facts], account: Account) -> None:
        self.name = name
        self.lesson = lesson
        self.account = account
        self.facts = lesson.situation(account)
        self.answers: dict[str, str] = {}
        self._hints_told = 0

    def client(self, service: str, who: str = ADMINISTRATOR) -> Any:
        """A boto3 client of a service, signed in as a person of the account."""
        return self.account.of(who)(service)

    def shell(self, who: str = ADMINISTRATOR) -> Sentence:
        """The line that makes a terminal's aws command work in this account, as a person of it."""
        return command_line(self.account.shell(who))

    def who_may(self, key_arn: str, role_name: str) -> Matrix:
        """Who may use a key: the role, and the administrator by way of Image Builder. Decided."""
        clients = self.account.administrator
        key = who.key_side(clients, key_arn)
        return access.decided(who.read(clients, key, role_name), who.operator(clients, key))

    def answer(self, **given: str) -> Checked:
        """Answer the questions that the exercise asks, by name; gives what `check` gives.

        Raises ParameterError for a name that is not among them.
        """
        for name in given:
            if name not in self.lesson.questions:
                asked = " and ".join(self.lesson.questions) or "nothing; act, and then check"
                raise ParameterError(f"Nothing asks for {name!r}.", f"This asks for: {asked}.")
        self.answers |= {name: str(value).strip() for name, value in given.items()}
        return self.check()

    def check(self) -> Checked:
        """Look at what AWS holds now, and say what is still missing."""
        try:
            found = self.lesson.check(self)
        except ClientError as error:
            if code_of(error) not in _GONE:
                raise
            said = error.response["Error"].get("Message", code_of(error))
            found = [
                Finding(
                    "What this exercise is about is there",
                    "fail",
                    f"{said} Open the exercise again to begin anew",
                )
            ]
        panel = Panel(self.check, self.hint, self.solution)
        return Checked(self.lesson.title, Findings(found), self.lesson.moral, panel)

    def hint(self) -> Sentence:
        """The next hint; each says more than the one before."""
        hints = self.lesson.hints
        last = self._hints_told >= len(hints)
        self._hints_told = min(self._hints_told + 1, len(hints))
        more = " That was the last hint: exercise.solution() shows one way." if last else ""
        told = self._hints_told
        return Sentence(f"Hint {told} of {len(hints)}: {hints[told - 1]}{more}")

    def solution(self) -> Solution:
        """One way to solve it."""
        return Solution(solution_text(self.lesson))

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        return situation_table(self).mimebundle()


@dataclass(frozen=True, slots=True)
class Solution:
    """One way to solve an exercise, as code that runs in its notebook."""

    code: str

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        return {"text/plain": self.code, "text/html": code_html("One solution", self.code)}


def solution_text(lesson: Lesson[Given]) -> str:
    """The body of the lesson's solution, without its docstring."""
    source = textwrap.dedent(inspect.getsource(lesson.solution))
    [function] = ast.parse(source).body
    assert isinstance(function, ast.FunctionDef)
    first = function.body[1 if ast.get_docstring(function) else 0]
    return textwrap.dedent("\n".join(source.splitlines()[first.lineno - 1 :]))
