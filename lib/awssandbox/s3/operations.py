"""S3's operations on buckets, their policies, and small objects without versions.

Each call is authorised with the bucket's policy beside the caller's own. Bucket-level calls are
management events; calls on objects and lists of them are data events (HeadBucket: UNCONFIRMED),
which the Event history does not have.
Source: https://docs.aws.amazon.com/AmazonS3/latest/userguide/cloudtrail-logging-s3-info.html and
https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazons3.html
"""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from iamaccess import ContextValue

from awssandbox.call import Access, Answer, Call, Operation, Resource
from awssandbox.errors import AwsError, not_imitated
from awssandbox.moto_s3 import Bucket
from awssandbox.s3 import errors
from awssandbox.s3.policies import accept

LONGEST_KEY: Final = 1024
"""Bytes. Source: https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-keys.html"""
LARGEST_PAGE: Final = 1000
DEFAULT_ENCRYPTION: Final = {
    "Rules": [
        {
            "ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"},
            "BucketKeyEnabled": False,
        }
    ]
}
"""Source: https://docs.aws.amazon.com/AmazonS3/latest/userguide/default-encryption-faq.html"""
OWNERS_ACL: Final = "bucket-owner-full-control"
"""The one ACL that a bucket takes whose owner owns what is in it, as new buckets are.

Source: https://docs.aws.amazon.com/AmazonS3/latest/userguide/about-object-ownership.html
"""
_FIRST_REGION: Final = "us-east-1"
_BUCKET_NAME: Final = re.compile(r"[a-z0-9](?:[a-z0-9.-]{1,61})[a-z0-9]")
"""Source: https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html"""


# --- what a call is about, and who may make it ----------------------------------------------------


def bucket_arn(call: Call, name: str) -> str:
    """A bucket's ARN, which names neither account nor Region."""
    return f"arn:{call.world.partition}:s3:::{name}"


def _bucket(call: Call) -> Bucket:
    """The bucket that a call names.

    Raises AwsError: NoSuchBucket, AccessDenied (another account's than expected),
    AuthorizationHeaderMalformed (in another Region than the call's).
    """
    name = call.parameters["Bucket"]
    bucket: Bucket | None = call.world.buckets.find(name)
    if bucket is None:
        raise errors.no_such_bucket(name)
    if call.parameters.get("ExpectedBucketOwner", bucket.account) != bucket.account:
        raise errors.wrong_owner()
    if bucket.region != call.region and call.operation != "GetBucketLocation":
        raise errors.wrong_region(call.region, bucket.region)
    return bucket


def _access(call: Call, action: str, bucket: Bucket, key: str | None = None) -> Access:
    resource = bucket_arn(call, bucket.name) + ("" if key is None else f"/{key}")
    policy = bucket.policy
    return Access(
        f"s3:{action}",
        resource,
        {**_conditions(call), "s3:ResourceAccount": bucket.account},
        () if policy is None else (policy.parsed(call.world),),
        resource_account=bucket.account,
    )


def _conditions(call: Call) -> dict[str, ContextValue]:
    """The condition keys of S3's own that requests have.

    Source: https://docs.aws.amazon.com/AmazonS3/latest/API/bucket-policy-s3-sigv4-conditions.html
    """
    keys: dict[str, ContextValue] = {
        "s3:authType": "REST-HEADER",
        "s3:signatureversion": "AWS4-HMAC-SHA256",
    }
    given = {"s3:prefix": "Prefix", "s3:delimiter": "Delimiter", "s3:max-keys": "MaxKeys"}
    for key, name in given.items():
        if call.operation.startswith("ListObjects") and name in call.parameters:
            keys[key] = str(call.parameters[name])
    if call.operation == "PutObject" and "ACL" in call.parameters:
        keys["s3:x-amz-acl"] = call.parameters["ACL"]
    return keys


def _on_bucket(action: str) -> Callable[[Call], Sequence[Access]]:
    return lambda call: [_access(call, action, _bucket(call))]


def _on_object(action: str) -> Callable[[Call], Sequence[Access]]:
    def access(call: Call) -> Sequence[Access]:
        key = call.parameters["Key"]
        if len(key.encode()) > LONGEST_KEY:
            raise errors.key_too_long()
        return [_access(call, action, _bucket(call), key)]

    return access


def _on_policy(action: str) -> Callable[[Call], Sequence[Access]]:
    """The account's root user may always: so that nobody is locked out of a bucket.

    Source: https://docs.aws.amazon.com/AmazonS3/latest/API/API_PutBucketPolicy.html
    """

    def access(call: Call) -> Sequence[Access]:
        bucket = _bucket(call)
        if call.caller.principal.kind == "root" and call.account == bucket.account:
            return []
        return [_access(call, action, bucket)]

    return access


# --- buckets --------------------------------------------------------------------------------------


def _create_access(call: Call) -> Sequence[Access]:
    keys = _conditions(call)
    constraint = _constraint(call)
    if constraint is not None:
        keys["s3:locationconstraint"] = constraint
    return [Access("s3:CreateBucket", bucket_arn(call, call.parameters["Bucket"]), keys)]


def _constraint(call: Call) -> str | None:
    configuration = call.parameters.get("CreateBucketConfiguration", {})
    for name in configuration.keys() - {"LocationConstraint"}:
        raise not_imitated(f"CreateBucket with {name}")
    found: str | None = configuration.get("LocationConstraint")
    return found


def _create(call: Call) -> Answer:
    """Source: https://docs.aws.amazon.com/AmazonS3/latest/API/API_CreateBucket.html"""
    name, constraint = call.parameters["Bucket"], _constraint(call)
    if not _BUCKET_NAME.fullmatch(name) or ".." in name or _is_address(name):
        raise errors.invalid_bucket_name(name)
    if call.region == _FIRST_REGION and constraint is not None:
        raise not_imitated(f"CreateBucket in another Region through {_FIRST_REGION}")
    if call.region != _FIRST_REGION and constraint != call.region:
        raise errors.illegal_location(constraint)
    there = call.world.buckets.find(name)
    if there is not None and there.account != call.account:
        raise errors.already_exists(name)
    if there is not None and call.region != _FIRST_REGION:
        raise errors.already_owned(name)
    bucket = there or call.world.buckets.create(name, call.account, call.region)
    arn = bucket_arn(call, name)
    return _recorded(call, {"Location": f"/{name}", "BucketArn": arn}, bucket)


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _recorded(call: Call, output: Mapping[str, Any], bucket: Bucket, **more: Any) -> Answer:
    """An answer of a management event. UNCONFIRMED: what else S3's records hold."""
    host = f"s3.{call.region}.amazonaws.com"
    return Answer(
        output,
        (Resource(bucket_arn(call, bucket.name), "AWS::S3::Bucket", bucket.account),),
        record_request={"bucketName": bucket.name, "Host": host, **more},
    )


def _delete(call: Call) -> Answer:
    bucket = _bucket(call)
    if call.account != bucket.account:
        raise errors.wrong_owner()
    if call.world.buckets.run(bucket, "ListObjectsV2", {"MaxKeys": 1}).get("Contents"):
        raise errors.not_empty(bucket.name)
    call.world.buckets.delete(bucket)
    return _recorded(call, {}, bucket)


def _list_access(call: Call) -> Sequence[Access]:
    return [Access("s3:ListAllMyBuckets", "*", _conditions(call))]


def _list(call: Call) -> Answer:
    buckets = [
        {"Name": one.name, "CreationDate": one.created, "BucketRegion": one.region}
        for one in call.world.buckets.of(call.account)
    ]
    return Answer({"Buckets": buckets, "Owner": _owner(call.account)})


def _owner(account: str) -> dict[str, str]:
    """An account's canonical id: here 64 hexadecimal digits that stand for its number."""
    return {"ID": f"{int(account):064x}"}


def _head_bucket(call: Call) -> Answer:
    bucket = _bucket(call)
    return Answer({"BucketRegion": bucket.region, "BucketArn": bucket_arn(call, bucket.name)})


def _location(call: Call) -> Answer:
    """None for us-east-1.

    Source: https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetBucketLocation.html
    """
    bucket = _bucket(call)
    where = {} if bucket.region == _FIRST_REGION else {"LocationConstraint": bucket.region}
    return _recorded(call, where, bucket, location="")


# --- bucket policies ------------------------------------------------------------------------------


def _owned(call: Call) -> Bucket:
    bucket = _bucket(call)
    if call.account != bucket.account:
        raise errors.not_the_owner()
    return bucket


def _put_policy(call: Call) -> Answer:
    bucket, text = _owned(call), call.parameters["Policy"]
    arn = bucket_arn(call, bucket.name)
    bucket.policy = accept(text, call.world, arn, call.caller.principal.arn)
    return _recorded(call, {}, bucket, bucketPolicy=json.loads(text), policy="")


def _get_policy(call: Call) -> Answer:
    bucket = _owned(call)
    if bucket.policy is None:
        raise errors.no_such_policy(bucket.name)
    return _recorded(call, {"Policy": bucket.policy.now(call.world)}, bucket, policy="")


def _delete_policy(call: Call) -> Answer:
    bucket = _owned(call)
    bucket.policy = None
    return _recorded(call, {}, bucket, policy="")


def _put_encryption(call: Call) -> Answer:
    """It is kept and shown; objects are stored here as they are."""
    bucket = _bucket(call)
    bucket.encryption = call.parameters["ServerSideEncryptionConfiguration"]
    return _recorded(call, {}, bucket, encryption="")


def _get_encryption(call: Call) -> Answer:
    bucket = _bucket(call)
    shown = DEFAULT_ENCRYPTION if bucket.encryption is None else bucket.encryption
    answer = {"ServerSideEncryptionConfiguration": shown}
    return _recorded(call, answer, bucket, encryption="")


def _delete_encryption(call: Call) -> Answer:
    bucket = _bucket(call)
    bucket.encryption = None
    return _recorded(call, {}, bucket, encryption="")


# --- objects --------------------------------------------------------------------------------------


def _put_object(call: Call) -> Answer:
    """Every object is encrypted with S3's own keys, as AWS does unless asked otherwise.

    Source: https://docs.aws.amazon.com/AmazonS3/latest/userguide/default-encryption-faq.html
    """
    bucket = _bucket(call)
    if call.parameters.get("ACL", OWNERS_ACL) != OWNERS_ACL:
        raise errors.no_acls()
    kept = {name: value for name, value in call.parameters.items() if name in _KEPT_OF_OBJECTS}
    given = {name: value for name, value in kept.items() if name in _CHECKSUMS}
    for name in given:  # moto keeps one, of the kind that is named
        kept["ChecksumAlgorithm"] = name.removeprefix("Checksum")
    output = call.world.buckets.run(bucket, "PutObject", kept)
    return Answer({"ETag": output["ETag"], **given, "ServerSideEncryption": "AES256"})


def _get_object(call: Call) -> Answer:
    found = _found(call)
    body = found.pop("Body").read()
    part = _part(call.parameters.get("Range"), len(body))
    if part is None:
        return Answer({**found, "Body": body, "ContentLength": len(body)})
    begin, end = part
    whole = {name: value for name, value in found.items() if name not in _CHECKSUMS}
    shown = f"bytes {begin}-{end - 1}/{len(body)}"
    piece = body[begin:end]
    return Answer({**whole, "Body": piece, "ContentLength": len(piece), "ContentRange": shown})


def _head_object(call: Call) -> Answer:
    found = _found(call)
    length = len(found.pop("Body").read())
    return Answer({**found, "ContentLength": length})


def _found(call: Call) -> dict[str, Any]:
    """The object that a call names, if the call's conditions hold.

    Raises AwsError: NoSuchKey, but access denied to who may not list the bucket; NotModified,
    PreconditionFailed.
    Source: https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObject.html
    """
    bucket, key = _bucket(call), call.parameters["Key"]
    try:
        found = call.world.buckets.run(bucket, "GetObject", {"Key": key, "ChecksumMode": "ENABLED"})
    except AwsError as refusal:
        if refusal.code != "NoSuchKey":
            raise
        call.authorise(_access(call, "ListBucket", bucket))
        raise errors.no_such_key(key) from None
    wanted, known = call.parameters.get("IfMatch"), call.parameters.get("IfNoneMatch")
    if wanted is not None and wanted.strip('"') not in ("*", found["ETag"].strip('"')):
        raise errors.precondition_failed("If-Match")
    if known is not None and known.strip('"') in ("*", found["ETag"].strip('"')):
        raise errors.not_modified()
    shown = _SHOWN_OF_OBJECTS
    if call.parameters.get("ChecksumMode") == "ENABLED":
        shown = shown | _CHECKSUMS
    own = {"AcceptRanges": "bytes", "ServerSideEncryption": "AES256"}
    return {**{name: found[name] for name in shown & found.keys()}, **own}


def _part(text: str | None, length: int) -> tuple[int, int] | None:
    """Where the part of an object that a Range header names begins and ends; None: all of it.

    A header that is no range is ignored. Raises AwsError: InvalidRange.
    Source: https://www.rfc-editor.org/rfc/rfc9110#name-range
    """
    if text is not None and "," in text:
        raise not_imitated("several ranges of an object at once")
    match = re.fullmatch(r"bytes=(\d*)-(\d*)", text or "")
    if match is None or not (match[1] or match[2]):
        return None
    if not match[1]:
        begin, end = max(0, length - int(match[2])), length
    else:
        begin, end = int(match[1]), min(length, int(match[2]) + 1) if match[2] else length
        if match[2] and int(match[2]) < begin:
            return None
    if begin >= end:
        raise errors.invalid_range()
    return begin, end


def _delete_object(call: Call) -> Answer:
    """Deleting what is not there is no error."""
    call.world.buckets.run(_bucket(call), "DeleteObject", {"Key": call.parameters["Key"]})
    return Answer()


def _list_objects_v2(call: Call) -> Answer:
    return Answer(_listed(call))


def _list_objects(call: Call) -> Answer:
    """The first form of lists, in which every object has its owner; `aws cloudtrail` uses it.

    Source: https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListObjects.html
    """
    output = _listed(call)
    owner = _owner(_bucket(call).account)
    contents = [{**one, "Owner": owner} for one in output.get("Contents", ())]
    return Answer({**output, **({"Contents": contents} if contents else {})})


def _listed(call: Call) -> dict[str, Any]:
    asked = {name: value for name, value in call.parameters.items() if name != "Bucket"}
    asked.pop("ExpectedBucketOwner", None)
    if not 0 <= asked.get("MaxKeys", LARGEST_PAGE) <= 2**31 - 1:
        raise AwsError(
            "InvalidArgument", "Argument maxKeys must be an integer between 0 and 2^31-1"
        )
    asked["MaxKeys"] = min(asked.get("MaxKeys", LARGEST_PAGE), LARGEST_PAGE)
    return call.world.buckets.run(_bucket(call), call.operation, asked)


# --- the table ------------------------------------------------------------------------------------

_CHECKSUMS: Final = frozenset(
    {
        *("ChecksumCRC32", "ChecksumCRC32C", "ChecksumCRC64NVME", "ChecksumSHA1"),
        *("ChecksumSHA256", "ChecksumType"),
    }
)
_DESCRIBED: Final = frozenset(
    {
        *("CacheControl", "ContentDisposition", "ContentEncoding", "ContentLanguage"),
        *("ContentType", "Metadata"),
    }
)
_KEPT_OF_OBJECTS: Final = _DESCRIBED | (_CHECKSUMS - {"ChecksumType"}) | {"Body", "Key"}
_SHOWN_OF_OBJECTS: Final = _DESCRIBED | {"Body", "ETag", "LastModified"}

_OF_BUCKETS: Final = frozenset({"Bucket", "ExpectedBucketOwner"})
_CHECKED: Final = frozenset({"ChecksumAlgorithm", "ContentMD5", "ContentLength"})
"""What says how the body is checked on its way; it has been."""
_LISTED: Final = _OF_BUCKETS | {"Delimiter", "EncodingType", "MaxKeys", "Prefix"}
_READ: Final = _OF_BUCKETS | {"Key", "Range", "IfMatch", "IfNoneMatch", "ChecksumMode"}


def _operation(
    access: Callable[[Call], Sequence[Access]],
    serve: Callable[[Call], Answer],
    known: frozenset[str],
    *,
    read_only: bool = False,
    data_event: bool = False,
) -> Operation:
    """An operation that knows the parameters `known`, and refuses any other."""

    def checked(call: Call) -> Sequence[Access]:
        for name in sorted(call.parameters.keys() - known):
            raise not_imitated(f"s3:{call.operation} with {name}")
        return access(call)

    return Operation(serve, checked, read_only, refused_request=_refused, data_event=data_event)


def _refused(call: Call) -> Mapping[str, Any] | None:
    name = call.parameters.get("Bucket")
    return None if name is None else {"bucketName": name}


OPERATIONS: Final[Mapping[str, Operation]] = {
    "CreateBucket": _operation(
        _create_access, _create, frozenset({"Bucket", "CreateBucketConfiguration"})
    ),
    "DeleteBucket": _operation(_on_bucket("DeleteBucket"), _delete, _OF_BUCKETS),
    "ListBuckets": _operation(_list_access, _list, frozenset(), read_only=True),
    "HeadBucket": _operation(
        _on_bucket("ListBucket"), _head_bucket, _OF_BUCKETS, read_only=True, data_event=True
    ),
    "GetBucketLocation": _operation(
        _on_bucket("GetBucketLocation"), _location, _OF_BUCKETS, read_only=True
    ),
    "PutBucketPolicy": _operation(
        _on_policy("PutBucketPolicy"), _put_policy, _OF_BUCKETS | _CHECKED | {"Policy"}
    ),
    "GetBucketPolicy": _operation(
        _on_policy("GetBucketPolicy"), _get_policy, _OF_BUCKETS, read_only=True
    ),
    "DeleteBucketPolicy": _operation(_on_policy("DeleteBucketPolicy"), _delete_policy, _OF_BUCKETS),
    "PutBucketEncryption": _operation(
        _on_bucket("PutEncryptionConfiguration"),
        _put_encryption,
        _OF_BUCKETS | _CHECKED | {"ServerSideEncryptionConfiguration"},
    ),
    "GetBucketEncryption": _operation(
        _on_bucket("GetEncryptionConfiguration"), _get_encryption, _OF_BUCKETS, read_only=True
    ),
    "DeleteBucketEncryption": _operation(
        _on_bucket("PutEncryptionConfiguration"), _delete_encryption, _OF_BUCKETS
    ),
    "PutObject": _operation(
        _on_object("PutObject"),
        _put_object,
        _OF_BUCKETS | _CHECKED | _KEPT_OF_OBJECTS | {"ACL"},
        data_event=True,
    ),
    "GetObject": _operation(
        _on_object("GetObject"), _get_object, _READ, read_only=True, data_event=True
    ),
    "HeadObject": _operation(
        _on_object("GetObject"), _head_object, _READ - {"Range"}, read_only=True, data_event=True
    ),
    "DeleteObject": _operation(
        _on_object("DeleteObject"), _delete_object, _OF_BUCKETS | {"Key"}, data_event=True
    ),
    "ListObjects": _operation(
        _on_bucket("ListBucket"),
        _list_objects,
        _LISTED | {"Marker"},
        read_only=True,
        data_event=True,
    ),
    "ListObjectsV2": _operation(
        _on_bucket("ListBucket"),
        _list_objects_v2,
        _LISTED | {"ContinuationToken", "StartAfter"},
        read_only=True,
        data_event=True,
    ),
}
