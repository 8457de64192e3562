"""The seven steps as one plain script: what `benchmarks/run.py` compares the notebooks with.

Usage: python benchmarks/script.py OUTPUTS
"""

from __future__ import annotations

import os
import sys

from keyrunbook import sandboxes


def main(outputs: str) -> None:
    """Everything that the notebooks do, pictures included."""
    with sandboxes.start_private() as sandbox:
        from keyrunbook.parameters import Parameters
        from keyrunbook.session import open_step
        from keyrunbook.steps import (
            clean_up,
            confirm_events,
            create_key,
            encrypt_workflow,
            grant_access,
            inventory,
            preflight,
            revoke_access,
        )

        sandbox.ready()
        os.environ.update(sandbox.environment())
        parameters = Parameters(run_id="script", outputs_dir=outputs)

        run = open_step("00_preflight", parameters)
        preflight.observe(run)
        preflight.verify(run)

        run = open_step("01_create_key", parameters)
        create_key.apply(run, create_key.plan(create_key.observe(run), parameters))
        create_key.verify(run)
        create_key.plan(create_key.observe(run), parameters)

        run = open_step("02_grant_access", parameters)
        grant_access.as_printed(run)
        grant_access.who_may(run)
        grant_access.apply(run, grant_access.plan(grant_access.observe(run), parameters))
        grant_access.who_may(run)
        grant_access.verify(run)

        run = open_step("03_encrypt_workflow", parameters)
        plan = encrypt_workflow.plan(encrypt_workflow.observe(run), parameters)
        encrypt_workflow.apply(run, plan)
        encrypt_workflow.verify(run)

        run = open_step("04_confirm_events", parameters)
        verdict = confirm_events.verify(run)
        confirm_events.records(verdict)._repr_mimebundle_()
        confirm_events.timeline(run, verdict)._repr_mimebundle_()
        assert verdict.outcome.value == "PROVED", verdict

        run = open_step("05_revoke_access", parameters)
        inventory.workflows(run)
        inventory.ways(run)
        revoke_access.open_paths(run)
        revoke_access.forecast(run)
        revoke_access.give_back(run, revoke_access.unfinished(run))
        revoke_access.who_may(run, "before")
        revoke_access.build(run, "before")
        plan = revoke_access.plan(revoke_access.observe(run), parameters)
        revoke_access.apply(run, revoke_access.first_path(plan))
        revoke_access.build(run, "one")
        revoke_access.who_may(run)
        revoke_access.apply(run, revoke_access.plan(revoke_access.observe(run), parameters))
        revoke_access.build(run, "both")
        revoke_access.who_may(run, "revoked")
        revoke_access.refused_records(run)
        revoke_access.changed_meanwhile(run)
        revoke_access.give_back(run, revoke_access.restoration(run))
        revoke_access.build(run, "restored")
        revoke_access.verify(run)

        run = open_step("06_clean_up", parameters)
        clean_up.apply(run, clean_up.plan(clean_up.observe(run), parameters))
        clean_up.verify(run)
        clean_up.plan(clean_up.observe(run), parameters)


if __name__ == "__main__":
    main(sys.argv[1])
