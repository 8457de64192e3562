"""The whole job in each of AWS's other partitions: nothing in it is of the partition aws alone."""

from __future__ import annotations

from pathlib import Path

import pytest
from botocore.exceptions import ClientError
from jobs import Job
from keyrunbook.aws.clients import sandbox_clients
from keyrunbook.aws.refusals import code_of
from keyrunbook.ledger import NAME, Ledger
from keyrunbook.sandboxes import HANDED_OVER, start_private
from test_operator_permissions import complaints

pytestmark = pytest.mark.e2e


@pytest.mark.parametrize(
    ("partition", "region", "global_region"),
    [
        ("aws-cn", "cn-northwest-1", "cn-north-1"),
        ("aws-us-gov", "us-gov-east-1", "us-gov-west-1"),
    ],
)
def test_the_whole_job_elsewhere(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    partition: str,
    region: str,
    global_region: str,
) -> None:
    with start_private("--region", region) as sandbox:
        clients = sandbox_clients(sandbox.ready())
        monkeypatch.setenv(HANDED_OVER, str(sandbox.path))
        job = Job(tmp_path, "elsewhere")
        assert [one for one in complaints(job) if not one.startswith("not checked")] == []
        ledger = Ledger(tmp_path / "elsewhere" / NAME)
        opened = ledger.opened()
        assert opened is not None
        assert (opened["partition"], opened["region"]) == (partition, region)
        assert ledger.of_kind("verdict")[-1]["verdict"] == "PROVED"
        text = (tmp_path / "elsewhere" / NAME).read_text(encoding="utf-8")
        for service in ("kms", "imagebuilder"):
            assert f"arn:{partition}:{service}:{region}:" in text
        assert f"arn:{partition}:iam::" in text
        assert "arn:aws:" not in text
        # IAM is recorded in the partition's own global Region
        by_name = [{"AttributeKey": "EventName", "AttributeValue": "CreateRole"}]
        where = clients("cloudtrail", global_region)
        assert where.lookup_events(LookupAttributes=by_name)["Events"]
        # and the credentials are none in another partition
        with pytest.raises(ClientError) as caught:
            clients("kms", "us-west-2").list_keys()
        assert code_of(caught.value) == "UnrecognizedClientException"
