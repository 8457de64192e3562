"""How a notebook shows whether a plan may be applied, and lets a person approve it.

On AWS the account's number, or its alias, has to be typed: whoever approves says where. In a
notebook that nobody sees, the digest is given by the parameter `approve`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from keyrunbook.aws import approval
from keyrunbook.plan import Plan
from keyrunbook.show.sentence import Sentence
from keyrunbook.show.widgets import bundle

if TYPE_CHECKING:
    from keyrunbook.session import Run


_NOT_NEEDED = "No approval is needed: this is the sandbox."
_ASKS = "? Waits for approval: type the account's number or alias, then press Approve."


class Approving:
    """A step's plan, all that it would change, and whether it is approved.

    Shown on AWS before that, it is stored in the run, and there is a button to approve it. A plan
    that takes many reads can be given as what makes it: then it is made where it is needed.
    """

    def __init__(self, run: Run, whole: Plan | Callable[[Run], Plan]) -> None:
        self._run = run
        self._given = whole
        self._digest = ""

    @cached_property
    def _whole(self) -> Plan:
        return self._given(self._run) if callable(self._given) else self._given

    def words(self) -> str:
        """How it stands, as one sentence."""
        if callable(self._given) and not approval.is_needed(self._run):
            return _NOT_NEEDED
        if not len(self._whole):
            return "Nothing to approve: nothing would be changed."
        if approval.is_approved(self._run, self._whole):
            return "✓ Approved: the next cell may apply it."
        if not approval.is_needed(self._run):
            return _NOT_NEEDED
        account = self._run.identity.account
        return (
            f"? Waits for approval, account {account}. Without a person: set "
            f'approve = "{self._stored()}" in the parameters.'
        )

    def _stored(self) -> str:
        plan = approval.plan_of(self._run, self._whole)
        self._digest = approval.store(self._run, plan)
        return self._digest

    def form(self) -> Any:
        """Store the plan, and give the form to approve it.

        The field for the account, the button, and what came of it: an ipywidgets box.
        """
        import ipywidgets as widgets

        self._stored()
        wide = widgets.Layout(width="auto")
        typed = widgets.Text(
            description="Account",
            placeholder="number or alias",
            description_allow_html=False,
            continuous_update=True,
        )
        button = widgets.Button(
            description="Approve",
            disabled=True,
            tooltip="Approve this plan for the account that is typed",
        )
        said = widgets.Label(_ASKS, layout=wide)
        names = self._names()

        def typing(change: Any) -> None:
            button.disabled = change["new"].strip() not in names

        def pressed(_: Any) -> None:
            approval.approve(self._run, self._digest, f"the button, for {typed.value.strip()}")
            button.disabled = typed.disabled = True
            said.value = self.words()

        typed.observe(typing, names="value")
        button.on_click(pressed)
        return widgets.VBox([said, widgets.HBox([typed, button])])

    def _names(self) -> set[str]:
        """What the account may be called; without its alias where that may not be read."""
        names = {self._run.identity.account}
        try:
            names |= set(self._run.clients("iam").list_account_aliases()["AccountAliases"])
        except ClientError as error:
            self._run.record("account_alias", known=False, why=str(error))
        return names

    def _repr_mimebundle_(self, **more: Any) -> Any:
        words = self.words()
        if not words.startswith("?"):
            return Sentence(words)._repr_mimebundle_()
        shown, metadata = bundle(self.form(), **more)
        return {**shown, **Sentence(words)._repr_mimebundle_()}, metadata
