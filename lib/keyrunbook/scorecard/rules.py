"""Each recommendation of AWS's page on data protection, and the function that judges it. Pure.

One small function for each: facts in, a `Finding` out. What was not read is *not checked*, with the
permission that was missing; what no API tells is *not checkable*, with why. `says` is the page's
sentence in our words. An *error* is what the page asks for; a *warning* is what it only recommends
or names as an example, or what AWS's own guides add to it.

Source: https://docs.aws.amazon.com/imagebuilder/latest/userguide/data-protection.html
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from keyrunbook.confidential import lines_with_credentials, sensitive
from keyrunbook.findings import Finding, Status
from keyrunbook.scorecard import encryption
from keyrunbook.scorecard.facts import Endpoint, Facts, Handshake, NotRead, Unread
from keyrunbook.scorecard.facts import TrailFact as Trail
from keyrunbook.scorecard.resources import (
    COMPONENT,
    CONTAINER_RECIPE,
    DISTRIBUTION,
    IMAGE_BUILDER,
    IMAGE_RECIPE,
    INFRASTRUCTURE,
    KEY,
    WORKFLOW,
)

Level = Literal["error", "warning"]
Judged = tuple[Status, str]
"""How it came out, and the evidence."""

NOT_CHECKED: Final[Status] = "not checked"
NOT_CHECKABLE: Final[Status] = "not checkable"

_SHOWN: Final = 5
"""How many names an evidence lists; the rest is counted."""
_SSO_ROLE: Final = "/AWSReservedSSO_"
"""Roles that IAM Identity Center makes.

Source: https://docs.aws.amazon.com/singlesignon/latest/userguide/referencingpermissionsets.html
"""


@dataclass(frozen=True, slots=True)
class Recommendation:
    """One recommendation: its name, what the page says, what is checked, and how it is mended."""

    name: str
    says: str
    statement: str
    level: Level
    judge: Callable[[Facts], Judged]
    mend: str = ""

    def finding(self, facts: Facts) -> Finding:
        """How it came out."""
        status, evidence = self.judge(facts)
        mend = "" if status in ("pass", NOT_CHECKABLE) else self.mend
        return Finding(self.statement, status, evidence, mend)


def listed(names: Iterable[str]) -> str:
    """Some names, and how many more there are."""
    found = list(names)
    more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
    return ", ".join(found[:_SHOWN]) + more


def _not_checked(why: object) -> Judged:
    return NOT_CHECKED, str(why)


def _holds(holds: bool, evidence: str) -> Judged:
    return ("pass" if holds else "fail"), evidence


# Credentials and users ----------------------------------------------------------------------------


def root_has_no_keys(facts: Facts) -> Judged:
    """Access keys of the root user cannot be narrowed."""
    if isinstance(facts.root, NotRead):
        return _not_checked(facts.root)
    return _holds(
        not facts.root.access_keys,
        "the root user has access keys" if facts.root.access_keys else "it has none",
    )


def operator_is_not_root(facts: Facts) -> Judged:
    """The operator is somebody, not the account."""
    return _holds(not facts.session.arn.endswith(":root"), facts.session.arn)


def individual_users(facts: Facts) -> Judged:
    """People come by IAM Identity Center, or as IAM users."""
    center, users = facts.identity_center, facts.users
    if not isinstance(center, NotRead) and center:
        return "pass", f"IAM Identity Center: {listed(center)}"
    if not isinstance(users, NotRead) and users:
        return "pass", f"{len(users)} IAM user(s): {listed(one.name for one in users)}"
    if isinstance(center, NotRead) or isinstance(users, NotRead):
        return _not_checked("; ".join(str(one) for one in (center, users) if one))
    return "fail", "no IAM Identity Center in this Region's view, and no IAM user"


def no_long_lived_keys(facts: Facts) -> Judged:
    """Long-term access keys are what leaks."""
    if isinstance(facts.users, NotRead):
        return _not_checked(facts.users)
    keys = [(one.name, one.active_keys) for one in facts.users]
    having = [name for name, number in keys if not isinstance(number, NotRead) and number > 0]
    if having:
        return "fail", f"active access keys of: {listed(having)}"
    unknown = [f"{name}: {number}" for name, number in keys if isinstance(number, NotRead)]
    return _not_checked(listed(unknown)) if unknown else ("pass", f"none of {len(keys)} user(s)")


def only_what_is_necessary(facts: Facts) -> Judged:
    """The operator's policies against `runbook permissions`, action by action.

    A pattern counts as more, since it is none of the named ones. Resources, conditions, Deny
    statements and boundaries may narrow what is allowed: they are not weighed here.
    """
    if isinstance(facts.allowed, NotRead):
        return _not_checked(facts.allowed)
    needed = {action.lower() for action in facts.necessary}
    more = [one for one in facts.allowed if one.action.lower() not in needed]
    if not more:
        return "pass", f"{len(facts.allowed)} action(s), all of them among those of the runbook"
    names = dict.fromkeys(f"{one.action} ({one.policy})" for one in more)
    return "fail", f"allowed beyond the runbook's: {listed(names)}"


# MFA ----------------------------------------------------------------------------------------------


def root_has_mfa(facts: Facts) -> Judged:
    """MFA of the account itself."""
    if isinstance(facts.root, NotRead):
        return _not_checked(facts.root)
    return _holds(facts.root.mfa, "on" if facts.root.mfa else "the root user has no MFA")


def users_have_mfa(facts: Facts) -> Judged:
    """Each IAM user has a device, whether it signs in by password or by keys."""
    if isinstance(facts.users, NotRead):
        return _not_checked(facts.users)
    devices = [(one.name, one.mfa_devices) for one in facts.users]
    without = [name for name, number in devices if number == 0]
    if without:
        return "fail", f"without MFA: {listed(without)}"
    unknown = [f"{name}: {number}" for name, number in devices if isinstance(number, NotRead)]
    if unknown:
        return _not_checked(listed(unknown))
    return "pass", f"{len(devices)} user(s), each with MFA" if devices else "there is no IAM user"


def session_has_mfa(facts: Facts) -> Judged:
    """This session, by CloudTrail's record of one of its own calls."""
    session = facts.session
    if not session.temporary:
        return "fail", "a long-term access key, which never carries MFA"
    if _SSO_ROLE in session.arn:
        return NOT_CHECKABLE, "IAM Identity Center asks for MFA itself; its sessions do not tell"
    if isinstance(session.mfa, NotRead):
        return _not_checked(session.mfa)
    evidence = f"CloudTrail: mfaAuthenticated {str(session.mfa).lower()}"
    return _holds(session.mfa, evidence)


# TLS ----------------------------------------------------------------------------------------------


def _versions(facts: Facts, accepted: Sequence[str]) -> Judged:
    measured = [(one, one.handshake) for one in facts.endpoints]
    plain = [one.url for one, done in measured if done is None]
    if plain:
        return "fail", f"no TLS at all: {listed(dict.fromkeys(plain))}"
    older = [
        f"{one.service}: {done.version}"
        for one, done in measured
        if isinstance(done, Handshake) and done.version not in accepted
    ]
    if older:
        return "fail", f"negotiated: {listed(older)}"
    unknown = [f"{one.service}: {done}" for one, done in measured if isinstance(done, NotRead)]
    if unknown or not measured:
        return _not_checked(listed(unknown) or "no endpoint is known")
    return "pass", _measured(facts.endpoints)


def _measured(endpoints: Iterable[Endpoint]) -> str:
    """The handshakes in words: which version, with how many endpoints."""
    found: dict[str, list[str]] = {}
    for one in endpoints:
        if isinstance(one.handshake, Handshake):
            found.setdefault(one.handshake.version, []).append(one.service)
    said = (f"{version} with {', '.join(names)}" for version, names in sorted(found.items()))
    return "negotiated: " + "; ".join(said)


def tls_1_2(facts: Facts) -> Judged:
    """What a real handshake with each endpoint agreed on."""
    return _versions(facts, ("TLSv1.2", "TLSv1.3"))


def tls_1_3(facts: Facts) -> Judged:
    """The same, against what is recommended."""
    return _versions(facts, ("TLSv1.3",))


def https_only(facts: Facts) -> Judged:
    """No endpoint is one of plain HTTP."""
    plain = [f"{one.service}: {one.url}" for one in facts.endpoints if not one.https]
    hosts = len({one.url for one in facts.endpoints})
    return _holds(not plain, listed(plain) if plain else f"{hosts} endpoint(s), all by HTTPS")


# CloudTrail ---------------------------------------------------------------------------------------


def _trails(facts: Facts, good: Callable[[Trail], bool], bad: str) -> Judged:
    """One trail that logs and is `good` is enough."""
    if isinstance(facts.trails, NotRead):
        return _not_checked(facts.trails)
    logging = [one for one in facts.trails if one.logging]
    found = [one.name for one in logging if good(one)]
    if found:
        return "pass", listed(found)
    refused = [f"{one.name}: {one.refused}" for one in facts.trails if one.refused is not None]
    if refused:
        return _not_checked(listed(refused))
    if not logging:
        return _not_checked("no trail logs")
    return "fail", f"{bad}: {listed(one.name for one in logging)}"


def trail_logs(facts: Facts) -> Judged:
    """A trail that covers the Region, and logs."""
    if isinstance(facts.trails, NotRead):
        return _not_checked(facts.trails)
    judged = _trails(facts, lambda one: True, "")
    if judged != (NOT_CHECKED, "no trail logs"):
        return judged
    names = listed(one.name for one in facts.trails)
    return "fail", f"none logs: {names}" if names else "there is no trail"


def trail_of_all_regions(facts: Facts) -> Judged:
    """What happens where nobody works is seen as well."""
    return _trails(facts, lambda one: one.all_regions, "of one Region only")


def trail_is_validated(facts: Facts) -> Judged:
    """Digests show whether a log file was altered."""
    return _trails(facts, lambda one: one.validated, "without log file validation")


def trail_keeps_kms(facts: Facts) -> Judged:
    """KMS's events can be excluded, and then nothing proves which key was used."""
    judged = _trails(facts, lambda one: one.lacks_kms is None, "without KMS's events")
    if judged[0] != "fail" or isinstance(facts.trails, NotRead):
        return judged
    why = (f"{one.name} {one.lacks_kms}" for one in facts.trails if one.logging)
    return "fail", listed(why)


def trail_is_encrypted(facts: Facts) -> Judged:
    """Log files under a KMS key: whoever reads them needs the key as well as the bucket."""
    return _trails(facts, lambda one: one.key is not None, "under S3's own key")


# Encryption by default, Macie, FIPS ---------------------------------------------------------------


def ebs_is_encrypted(facts: Facts) -> Judged:
    """New volumes and snapshots, of builds too."""
    if isinstance(facts.ebs_by_default, NotRead):
        return _not_checked(facts.ebs_by_default)
    key = "" if isinstance(facts.ebs_key, NotRead) else f", by {facts.ebs_key}"
    return _holds(facts.ebs_by_default, f"on{key}" if facts.ebs_by_default else "off")


def buckets_are_encrypted(facts: Facts) -> Judged:
    """The buckets that this job's data lies in: trails' log files, build logs."""
    without = [one.name for one in facts.buckets if one.algorithm == ""]
    if without:
        return "fail", f"without default encryption: {listed(without)}"
    unknown = [f"{one.name}: {one.algorithm}" for one in facts.buckets
               if isinstance(one.algorithm, NotRead)]  # fmt: skip
    if unknown:
        return _not_checked(listed(unknown))
    if not facts.buckets:
        return _not_checked("no trail and no build log has a bucket")
    return "pass", listed(f"{one.name} ({one.holds}): {one.algorithm}" for one in facts.buckets)


def macie_is_on(facts: Facts) -> Judged:
    """Amazon Macie, which AWS names as an example."""
    if isinstance(facts.macie, NotRead):
        return _not_checked(facts.macie)
    return _holds(facts.macie == "ENABLED", facts.macie)


def fips_where_required(facts: Facts) -> Judged:
    """Whether FIPS is required, only the operator knows; `use_fips` says so."""
    if not facts.fips_wanted:
        why = "use_fips does not ask for it; whether you must, AWS cannot tell"
        return NOT_CHECKABLE, why
    if facts.fips_missing:
        return "fail", f"no FIPS endpoint here: {', '.join(facts.fips_missing)}"
    return "pass", listed(dict.fromkeys(one.url for one in facts.endpoints))


# Names, tags, descriptions, URLs ------------------------------------------------------------------


def _confidential(facts: Facts, kinds: Sequence[str]) -> Judged:
    found = [
        f"{one.arn}: {place} looks like {what}"
        for one in facts.resources.of(*kinds)
        for place, text in one.texts.items()
        if (what := sensitive(text)) is not None
    ]
    if found:
        return "fail", listed(_without_it(found))
    return _unless_unread(
        facts.resources.missing(*kinds), f"{len(facts.resources.of(*kinds))} resource(s)"
    )


def _without_it(found: Sequence[str]) -> list[str]:
    """Evidence that does not repeat what is confidential: a tag's key, a name in an ARN."""
    return [one if sensitive(one) is None else "one whose own name is confidential"
            for one in found]  # fmt: skip


def _unless_unread(unread: Sequence[Unread], evidence: str) -> Judged:
    if unread:
        return _not_checked(listed(f"{one.what}: {one.why}" for one in unread))
    return "pass", evidence


def image_builder_texts(facts: Facts) -> Judged:
    """Names, descriptions and tags of Image Builder's resources."""
    return _confidential(facts, IMAGE_BUILDER)


def kms_texts(facts: Facts) -> Judged:
    """Aliases, descriptions and tags of the account's keys."""
    return _confidential(facts, (KEY,))


def urls_hold_no_credentials(facts: Facts) -> Judged:
    """URLs in the documents of workflows, components and container recipes."""
    kinds = (WORKFLOW, COMPONENT, CONTAINER_RECIPE)
    documents = [
        (one, place, text)
        for one in facts.resources.of(*kinds)
        for place, text in one.documents.items()
    ]
    found = [
        f"{one.arn}: {place}, line {line}"
        for one, place, text in documents
        for line in lines_with_credentials(text)
    ]
    if found:
        return "fail", listed(found)
    return _unless_unread(facts.resources.missing(*kinds), f"{len(documents)} document(s)")


# What resources are encrypted with, and where logs go ---------------------------------------------


def default_encryption(facts: Facts) -> Judged:
    """Image Builder's own key is nobody's to look at."""
    return (
        NOT_CHECKABLE,
        "the key belongs to the service: no API shows it, or its use. By the inventory: "
        + encryption.counted(encryption.inventory(facts)),
    )


def inventory_is_known(facts: Facts) -> Judged:
    """Each resource was read, so that the inventory is whole."""
    entries = encryption.inventory(facts)
    unknown = [
        f"{one.arn} {one.part}: {one.because}"
        for one in entries
        if one.encrypted_with == encryption.UNKNOWN
    ]
    return _not_checked(listed(unknown)) if unknown else ("pass", encryption.counted(entries))


def _under_customer_keys(facts: Facts, kind: str, word: str) -> Judged:
    mine = [one for one in encryption.inventory(facts) if one.kind == kind]
    other = [one.arn for one in mine if one.encrypted_with not in _OWN]
    if other:
        return "fail", f"under another key than yours: {listed(other)}"
    if unread := facts.resources.missing(kind):
        return _unless_unread(unread, "")
    unknown = [f"{one.arn} {one.because}" for one in mine
               if one.encrypted_with == encryption.UNKNOWN]  # fmt: skip
    if unknown or not mine:
        return _not_checked(listed(unknown) or f"there is no {word} yet")
    return "pass", f"{len(mine)} {word}(s)"


_OWN: Final = (encryption.CUSTOMER, encryption.UNKNOWN)


def workflows_under_your_key(facts: Facts) -> Judged:
    """The layer of protection that this runbook adds."""
    return _under_customer_keys(facts, WORKFLOW, "workflow")


def components_under_your_key(facts: Facts) -> Judged:
    """Custom components take a key too."""
    return _under_customer_keys(facts, COMPONENT, "component")


def volumes_are_encrypted(facts: Facts) -> Judged:
    """The volumes that recipes describe."""
    recipes = (IMAGE_RECIPE, CONTAINER_RECIPE)
    volumes = [
        one
        for one in encryption.inventory(facts)
        if one.kind in recipes and one.part.startswith("volume ")
    ]
    bare = [f"{one.arn} {one.part}" for one in volumes if one.encrypted_with == encryption.NOTHING]
    if bare:
        return "fail", listed(bare)
    unknown = [one.because for one in volumes if one.encrypted_with == encryption.UNKNOWN]
    if unknown:
        return _not_checked(listed(dict.fromkeys(unknown)))
    if unread := facts.resources.missing(*recipes):
        return _unless_unread(unread, "")
    if not volumes:
        return _not_checked("no recipe names a volume")
    return "pass", f"{len(volumes)} volume(s)"


def logs_are_kept(facts: Facts) -> Judged:
    """The service stores none, and a build's instance ends with the build."""
    settings = facts.resources.of(INFRASTRUCTURE)
    without = [one.arn for one in settings if one.log_bucket is None]
    if without:
        return "fail", f"nowhere in S3: {listed(without)}"
    if unread := facts.resources.missing(INFRASTRUCTURE):
        return _unless_unread(unread, "")
    if not settings:
        return _not_checked("there is no infrastructure configuration yet")
    return "pass", listed(f"{one.arn} to {one.log_bucket}" for one in settings)


def service_stores_no_logs(facts: Facts) -> Judged:
    """A statement on the service's inside."""
    return (
        NOT_CHECKABLE,
        "what the service stores no API shows; a build's logs are on its EC2 instance, in Systems "
        "Manager Automation, in CloudWatch Logs (/aws/imagebuilder/NAME), and in S3 where its "
        "infrastructure configuration says so",
    )


# The network --------------------------------------------------------------------------------------


def network_is_aws_s(facts: Facts) -> Judged:
    """Between Availability Zones and Regions."""
    return NOT_CHECKABLE, "AWS's own network: only the calls from here can be measured (TLS)"


def no_direct_connections(facts: Facts) -> Judged:
    """Images go to other accounts as copies, by distribution."""
    shared = sorted({
        account for one in facts.resources.of(DISTRIBUTION) for account in one.shared_with
    })  # fmt: skip
    more = f"; distributions share images with: {listed(shared)}" if shared else ""
    return NOT_CHECKABLE, f"AWS's own network: no API shows its connections{more}"


RECOMMENDATIONS: Final[tuple[Recommendation, ...]] = (
    Recommendation(
        "users.root-keys",
        "Protect the account's credentials.",
        "The root user has no access keys",
        "error",
        root_has_no_keys,
        "Delete the root user's access keys (Console: Security credentials), and work by roles.",
    ),
    Recommendation(
        "users.not-root",
        "Protect the account's credentials.",
        "The operator is not the root user",
        "error",
        operator_is_not_root,
        "Work as a role or a user: root's permissions cannot be narrowed.",
    ),
    Recommendation(
        "users.individual",
        "Set up individual users, with IAM Identity Center or IAM.",
        "People come by IAM Identity Center, or as IAM users",
        "error",
        individual_users,
        "Enable IAM Identity Center, and give people permission sets; or make IAM users.",
    ),
    Recommendation(
        "users.long-lived-keys",
        "Set up individual users, with IAM Identity Center or IAM.",
        "No IAM user has a long-lived access key",
        "warning",
        no_long_lived_keys,
        "Let people log in by IAM Identity Center (aws sso login) and machines use roles; then "
        "deactivate the keys, and delete them once nothing misses them.",
    ),
    Recommendation(
        "users.permissions",
        "Give each user only the permissions that the job needs.",
        "The operator is allowed no more than the runbook needs",
        "error",
        only_what_is_necessary,
        "Run the runbook as a role with the policy that `runbook permissions` prints.",
    ),
    Recommendation(
        "mfa.root",
        "Use multi-factor authentication with each account.",
        "The root user has MFA",
        "error",
        root_has_mfa,
        "Sign in as root, and assign an MFA device under Security credentials.",
    ),
    Recommendation(
        "mfa.users",
        "Use multi-factor authentication with each account.",
        "Each IAM user has MFA",
        "error",
        users_have_mfa,
        "Give each user an MFA device (iam:EnableMFADevice), or delete the user.",
    ),
    Recommendation(
        "mfa.session",
        "Use multi-factor authentication with each account.",
        "This session was opened with MFA",
        "warning",
        session_has_mfa,
        "Get a session with a code: aws sts get-session-token --serial-number ARN --token-code N.",
    ),
    Recommendation(
        "tls.required",
        "Talk to AWS by TLS; TLS 1.2 is required.",
        "Each endpoint negotiates TLS 1.2 or better",
        "error",
        tls_1_2,
        "Reach AWS's own endpoints, with a current Python and OpenSSL; a sandbox: --tls.",
    ),
    Recommendation(
        "tls.recommended",
        "Talk to AWS by TLS; TLS 1.3 is recommended.",
        "Each endpoint negotiates TLS 1.3",
        "warning",
        tls_1_3,
        "Use an OpenSSL with TLS 1.3 (1.1.1 or later), and no proxy that ends TLS.",
    ),
    Recommendation(
        "tls.https-only",
        "Talk to AWS by TLS.",
        "Every endpoint is one of HTTPS",
        "error",
        https_only,
        "Unset endpoint variables (AWS_ENDPOINT_URL…) that name http://; a sandbox: --tls.",
    ),
    Recommendation(
        "trail.logging",
        "Log what the API and its users do with CloudTrail.",
        "A trail covers the Region and logs",
        "error",
        trail_logs,
        "Create a trail of all Regions and start it. Event history alone ends after 90 days.",
    ),
    Recommendation(
        "trail.regions",
        "Log what the API and its users do with CloudTrail.",
        "A trail covers all Regions",
        "warning",
        trail_of_all_regions,
        "aws cloudtrail update-trail --name NAME --is-multi-region-trail",
    ),
    Recommendation(
        "trail.validation",
        "Log what the API and its users do with CloudTrail.",
        "A trail's log files are validated by digests",
        "warning",
        trail_is_validated,
        "aws cloudtrail update-trail --name NAME --enable-log-file-validation",
    ),
    Recommendation(
        "trail.kms-events",
        "Log what the API and its users do with CloudTrail; KMS's events show the key at work.",
        "A trail keeps KMS's events, those that read as well",
        "error",
        trail_keeps_kms,
        "Let the trail's event selectors have all management events, KMS's not excluded.",
    ),
    Recommendation(
        "trail.encryption",
        "Log what the API and its users do with CloudTrail, and use AWS's encryption.",
        "A trail's log files are under a KMS key",
        "warning",
        trail_is_encrypted,
        "aws cloudtrail update-trail --name NAME --kms-key-id KEY",
    ),
    Recommendation(
        "encryption.ebs",
        "Use AWS's encryption, with the default controls of its services.",
        "EBS volumes are encrypted by default",
        "error",
        ebs_is_encrypted,
        "aws ec2 enable-ebs-encryption-by-default (in each Region that you build in)",
    ),
    Recommendation(
        "encryption.s3",
        "Use AWS's encryption, with the default controls of its services.",
        "The buckets of trails and build logs are encrypted by default",
        "error",
        buckets_are_encrypted,
        "aws s3api put-bucket-encryption on each bucket that is named.",
    ),
    Recommendation(
        "services.macie",
        "Use managed security services such as Amazon Macie.",
        "Amazon Macie is on",
        "warning",
        macie_is_on,
        "aws macie2 enable-macie (it has a price, by buckets and by what it looks at)",
    ),
    Recommendation(
        "services.fips",
        "Where FIPS 140 validated modules are required, use FIPS endpoints.",
        "FIPS endpoints are used where they are required",
        "error",
        fips_where_required,
        "Work in a Region that has FIPS endpoints of all services that the runbook calls.",
    ),
    Recommendation(
        "text.image-builder",
        "Put nothing confidential into tags, names and other free-form fields.",
        "Names, descriptions and tags of Image Builder resources hold nothing confidential",
        "error",
        image_builder_texts,
        "Take it out: tags can be replaced; what has another name or description is made anew. "
        "A secret that stood there is to be changed.",
    ),
    Recommendation(
        "text.kms",
        "Put nothing confidential into tags, names and other free-form fields.",
        "Aliases, descriptions and tags of KMS keys hold nothing confidential",
        "error",
        kms_texts,
        "Take it out: aws kms update-key-description, untag-resource, delete-alias. A secret that "
        "stood there is to be changed.",
    ),
    Recommendation(
        "text.urls",
        "Put no credentials into a URL that you give to an external server.",
        "No URL in a workflow, component or container recipe holds credentials",
        "error",
        urls_hold_no_credentials,
        "Read the secret at build time (Secrets Manager, a role), make a new version without it, "
        "delete the old one, and change the secret.",
    ),
    Recommendation(
        "at-rest.service-owned",
        "Image Builder encrypts by default with a key that the service owns.",
        "Image Builder's own key encrypts what names no other",
        "warning",
        default_encryption,
    ),
    Recommendation(
        "at-rest.inventory",
        "What names no key is under the service's, or the account's default.",
        "What each Image Builder resource is encrypted with is known",
        "warning",
        inventory_is_known,
        "Give the operator the reads that are named: runbook permissions --scorecard",
    ),
    Recommendation(
        "at-rest.components",
        "Custom components are under your default key, or one that the service owns.",
        "Each custom component is under a customer managed key",
        "warning",
        components_under_your_key,
        "Make a new version of the component with --kms-key-id.",
    ),
    Recommendation(
        "at-rest.workflows",
        "Workflows can be encrypted with a customer managed key, given when they are made.",
        "Each workflow is under a customer managed key",
        "warning",
        workflows_under_your_key,
        "Run this runbook for it: 03_encrypt_workflow makes a version under your key.",
    ),
    Recommendation(
        "at-rest.volumes",
        "Use AWS's encryption.",
        "Each volume of a recipe is encrypted",
        "warning",
        volumes_are_encrypted,
        "Set encrypted (and kmsKeyId) in the recipe's block devices, or EC2's default.",
    ),
    Recommendation(
        "logs.kept",
        "Logs are on the build's instance, or in Systems Manager Automation.",
        "Build logs are kept in S3",
        "warning",
        logs_are_kept,
        "Give the infrastructure configuration a bucket (logging.s3Logs).",
    ),
    Recommendation(
        "logs.not-in-service",
        "Image Builder stores no logs in the service.",
        "Image Builder stores no logs itself",
        "warning",
        service_stores_no_logs,
    ),
    Recommendation(
        "network.https",
        "Connections within AWS are by HTTPS.",
        "Connections between Zones, Regions and on-premises locations are by HTTPS",
        "warning",
        network_is_aws_s,
    ),
    Recommendation(
        "network.accounts",
        "There are no direct connections between accounts.",
        "There are no direct connections between accounts",
        "warning",
        no_direct_connections,
    ),
)
"""In the order of the page."""
