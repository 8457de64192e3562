"""Whether a bucket lets CloudTrail write there.

Source: https://docs.aws.amazon.com/awscloudtrail/latest/userguide/create-s3-bucket-policy-for-cloudtrail.html
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from iamaccess import Outcome, Policies, Principal, Request, decide

from awssandbox.errors import not_imitated

if TYPE_CHECKING:
    from awssandbox.moto_s3 import Bucket
    from awssandbox.world import World

SERVICE: Final = "cloudtrail.amazonaws.com"
OWNERS_ACL: Final = "bucket-owner-full-control"


def may_check(world: World, bucket: Bucket, trail_arn: str, account: str) -> bool:
    """Whether CloudTrail may see who owns the bucket, for a trail of an account.

    Raises AwsError where it rests on what AWS does not document.
    """
    return _may(world, bucket, "s3:GetBucketAcl", "", trail_arn, account)


def may_write(world: World, bucket: Bucket, key: str, trail_arn: str, account: str) -> bool:
    """Whether CloudTrail may write an object, for a trail of an account.

    Raises AwsError where it rests on what AWS does not document.
    """
    return _may(world, bucket, "s3:PutObject", f"/{key}", trail_arn, account)


def _may(
    world: World, bucket: Bucket, action: str, path: str, trail_arn: str, account: str
) -> bool:
    context = {"aws:SourceArn": trail_arn, "aws:SourceAccount": account}
    if action == "s3:PutObject":
        context["s3:x-amz-acl"] = OWNERS_ACL
    resource = f"arn:{world.partition}:s3:::{bucket.name}{path}"
    asked = Request(
        Principal("service", SERVICE, None), action, resource, {**context}, bucket.account
    )
    policies = () if bucket.policy is None else (bucket.policy.parsed(world),)
    decision = decide(asked, Policies((), policies, (), (), (), (), ()))
    if decision.undocumented:
        raise not_imitated(f"{decision.undocumented[0].element} in the policy of {bucket.name}")
    return decision.outcome is Outcome.ALLOWED
