"""Facts of two accounts: one in which all is well, one in which nothing is."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from keyrunbook.scorecard.facts import (
    Allowed,
    Bucket,
    Endpoint,
    Facts,
    Handshake,
    NotRead,
    Part,
    Resource,
    Resources,
    RootUser,
    Session,
    TrailFact,
    Unread,
    User,
)
from keyrunbook.scorecard.resources import (
    COMPONENT,
    CONTAINER_RECIPE,
    DISTRIBUTION,
    IMAGE_RECIPE,
    INFRASTRUCTURE,
    KEY,
    WORKFLOW,
)

PREFIX = "arn:aws:imagebuilder:us-west-2:111122223333:"
KMS_KEY = "arn:aws:kms:us-west-2:111122223333:key/one"
ROLE = "arn:aws:sts::111122223333:assumed-role/Operator/ann"
DENIED = NotRead("AccessDenied: no", "x:Read")
TLS_1_3 = Handshake("TLSv1.3", "TLS_AES_256_GCM_SHA384")
TLS_1_2 = Handshake("TLSv1.2", "ECDHE-RSA-AES128-GCM-SHA256")
TLS_1_1 = Handshake("TLSv1.1", "AES128-SHA")
GOOD_TRAIL = TrailFact("main", True, True, True, KMS_KEY, None)
BAD_TRAIL = TrailFact("poor", True, False, False, None, "does not select KMS's events")
STOPPED = replace(GOOD_TRAIL, name="stopped", logging=False)


def resource(kind: str, name: str = "one", **more: Any) -> Resource:
    """A resource whose ARN has this name."""
    path = kind.replace(" ", "-")
    return Resource(kind, f"{PREFIX}{path}/{name}/1.0.0/1", **more)


def under(key: str | None, name: str = "document", encrypted: bool | None = None) -> Any:
    """The parts of a resource: one, under a key."""
    return (Part(name, key, encrypted),)


GOOD = Facts(
    session=Session(ROLE, True, True),
    root=RootUser(mfa=True, access_keys=False),
    users=(),
    identity_center=("arn:aws:sso:::instance/ssoins-1",),
    allowed=(Allowed("Runbook", "kms:CreateKey"), Allowed("Runbook", "iam:GetRole")),
    necessary=frozenset({"kms:CreateKey", "iam:GetRole", "kms:Decrypt"}),
    endpoints=(Endpoint("AWS KMS", "https://kms.us-west-2.amazonaws.com", TLS_1_3),),
    fips_wanted=True,
    fips_missing=(),
    trails=(GOOD_TRAIL,),
    ebs_by_default=True,
    ebs_key="alias/aws/ebs",
    buckets=(Bucket("logs", "build logs", "aws:kms", KMS_KEY),),
    macie="ENABLED",
    resources=Resources(
        (
            resource(WORKFLOW, parts=under(KMS_KEY), documents={"document": "s3://a/b"}),
            resource(COMPONENT, parts=under(KMS_KEY)),
            resource(IMAGE_RECIPE, parts=under(None, "volume /dev/xvda", True)),
            resource(INFRASTRUCTURE, log_bucket="logs", parts=under(None, "settings")),
            resource(KEY, texts={"description": "of the images"}),
        )
    ),
    key_managers={KMS_KEY: "CUSTOMER"},
)
BAD = replace(
    GOOD,
    session=Session("arn:aws:iam::111122223333:root", False, False),
    root=RootUser(mfa=False, access_keys=True),
    users=(User("bob", mfa_devices=0, active_keys=1),),
    identity_center=(),
    allowed=(Allowed("AdministratorAccess", "*"),),
    endpoints=(Endpoint("AWS KMS", "http://127.0.0.1:4566", None),),
    fips_missing=("AWS KMS",),
    trails=(BAD_TRAIL,),
    ebs_by_default=False,
    buckets=(Bucket("logs", "build logs", ""),),
    macie="off: Macie is not enabled",
    resources=Resources(
        (
            resource(WORKFLOW, parts=under(None), texts={"tag Owner": "Owner=ann@example.com"}),
            resource(COMPONENT, parts=under(None, encrypted=True),
                     documents={"document": "a\nget https://ann:pw@example.com/x\n"}),
            resource(IMAGE_RECIPE, parts=under(None, "volume /dev/xvda")),
            resource(INFRASTRUCTURE),
            resource(KEY, texts={"description": "password=hunter2"}),
        )
    ),
)  # fmt: skip
UNREAD = replace(
    GOOD,
    session=Session(ROLE, True, DENIED),
    root=DENIED,
    users=DENIED,
    identity_center=DENIED,
    allowed=DENIED,
    endpoints=(Endpoint("AWS KMS", "https://kms.us-west-2.amazonaws.com", NotRead("a proxy")),),
    fips_wanted=False,
    trails=DENIED,
    ebs_by_default=DENIED,
    ebs_key=DENIED,
    buckets=(Bucket("logs", "build logs", DENIED),),
    macie=DENIED,
    resources=Resources(
        (),
        tuple(Unread(kind, f"all {kind}s", DENIED) for kind in
              (WORKFLOW, COMPONENT, IMAGE_RECIPE, CONTAINER_RECIPE, INFRASTRUCTURE, KEY)),
    ),
)  # fmt: skip
SHARED = resource(DISTRIBUTION, shared_with=("444455556666",))
USER = User("ann", mfa_devices=1, active_keys=0)
