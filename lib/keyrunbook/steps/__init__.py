"""The seven steps of the job, each a module with the same four verbs.

- `observe(run)` reads AWS and changes nothing;
- `plan(state, parameters)` is pure: the changes that are still to be made;
- `apply(run, plan)` makes them;
- `verify(run)` reads AWS again and says what is so now.
"""

from __future__ import annotations

STEPS = (
    "00_preflight",
    "01_create_key",
    "02_grant_access",
    "03_encrypt_workflow",
    "04_confirm_events",
    "05_revoke_access",
    "06_clean_up",
)

NEEDS: dict[str, str | None] = {
    "00_preflight": None,
    "01_create_key": None,
    "02_grant_access": "01_create_key",
    "03_encrypt_workflow": "02_grant_access",
    "04_confirm_events": "03_encrypt_workflow",
    "05_revoke_access": "03_encrypt_workflow",
    "06_clean_up": "01_create_key",
    # what commands do without a notebook
    "05_revoke": "02_grant_access",
    "05_restore": "02_grant_access",
    "05_emergency_stop": "01_create_key",
    "05_emergency_over": "01_create_key",
}
"""The step that each step goes on from."""
