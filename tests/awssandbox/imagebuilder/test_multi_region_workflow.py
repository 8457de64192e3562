"""A workflow under a multi-Region key, by real calls.

Source: https://docs.aws.amazon.com/kms/latest/developerguide/multi-region-keys-overview.html
"""

from __future__ import annotations

from served import ACCOUNT, DOCUMENT, REGION, Served, refusal

AWAY = "eu-central-1"


def test_each_region_s_workflow_is_under_that_region_s_key(sandbox: Served) -> None:
    key = sandbox.client("kms").create_key(MultiRegion=True)["KeyMetadata"]["Arn"]
    sandbox.client("kms").replicate_key(KeyId=key, ReplicaRegion=AWAY)
    for region in (REGION, AWAY):
        own = f"arn:aws:kms:{region}:{ACCOUNT}:{key.rpartition(':')[2]}"
        client = sandbox.client("imagebuilder", region=region)
        given = {"name": "secret", "semanticVersion": "1.0.0", "type": "BUILD", "data": DOCUMENT}
        arn = client.create_workflow(**given, kmsKeyId=own)["workflowBuildVersionArn"]
        read = client.get_workflow(workflowBuildVersionArn=arn)["workflow"]
        assert (read["kmsKeyId"], read["data"]) == (own, DOCUMENT)
        for event in ("GenerateDataKey", "Decrypt"):
            [record] = sandbox.records(event, region=region)
            assert [one["ARN"] for one in record["resources"]] == [own]
    foreign = {**given, "name": "other", "kmsKeyId": key}
    assert "KMS answered NotFoundException" in refusal(client.create_workflow, **foreign)[2]
