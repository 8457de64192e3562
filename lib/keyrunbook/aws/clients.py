"""boto3 clients of a run: kept, told where to go, and the source of the run's time.

On the sandbox nothing of the environment counts: no profile, no endpoint variable, no proxy, no
credentials but the sandbox's own. Every client of every service goes to the endpoint or fails.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from functools import cache, cached_property, lru_cache
from importlib.metadata import version
from typing import Any, Literal
from urllib.parse import urlsplit

import boto3
import botocore.session
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, ProfileNotFound
from botocore.loaders import Loader

from keyrunbook.aws import fips
from keyrunbook.aws.models import loader
from keyrunbook.aws.reading import reads
from keyrunbook.aws.refusals import explain
from keyrunbook.errors import CredentialsMissing, ParameterError, ReadOnly
from keyrunbook.sandboxes import Handoff

ANSWER_S = 60
"""How long the answer to a call is waited for, where nothing else is said."""
MAX_ATTEMPTS = 5
"""How often the AWS SDK sends a call at most, its first time included."""


class Clients:
    """Makes and keeps the clients of one run, one a service and Region.

    `sandbox` is the instance id of the sandbox that they talk to, None for AWS. With `read_only`
    every client refuses, before anything is sent, each operation that does more than read.
    """

    def __init__(
        self,
        session: boto3.Session,
        region: str,
        *,
        config: Config,
        sandbox: str | None = None,
        read_only: bool = False,
        **options: Any,
    ) -> None:
        self.region = region
        self.sandbox = sandbox
        self.read_only = read_only
        self._session = session
        self._config = config
        self._options = options
        self._kept: dict[tuple[str, str, bool], Any] = {}
        self._ahead: timedelta | None = None
        self._sent = datetime.now(UTC)

    def __call__(self, service: str, region: str | None = None) -> Any:
        """The boto3 client of `service`; a call that went wrong on the way is sent again."""
        return self._client(service, region or self.region, once=False)

    def once(self, service: str, region: str | None = None) -> Any:
        """The client of `service` that sends each call one time, whatever becomes of it.

        For calls without an idempotency token: after a time-out, the SDK's second try could make a
        second thing (CreateKey: a second key). The caller looks it up instead.
        Source: https://docs.aws.amazon.com/kms/latest/APIReference/API_CreateKey.html
        """
        return self._client(service, region or self.region, once=True)

    def _client(self, service: str, region: str, *, once: bool) -> Any:
        place = (service, region, once)
        if place not in self._kept:
            config = self._config.merge(_ONE_ATTEMPT) if once else self._config
            client = self._session.client(
                service, region_name=region, config=config, **self._options
            )
            if self.read_only:
                client.meta.events.register_first("before-parameter-build", _only_reading)
            client.meta.events.register("before-send", self._note_sending)
            client.meta.events.register("after-call", self._note_time)
            self._kept[place] = client
        return self._kept[place]

    def _note_sending(self, **_: Any) -> None:
        self._sent = datetime.now(UTC)

    def _note_time(self, parsed: Mapping[str, Any], **_: Any) -> None:
        header = parsed.get("ResponseMetadata", {}).get("HTTPHeaders", {}).get("date")
        if not header:
            return
        # The header has whole seconds, so it bounds the service's lead from both sides. The
        # greatest lower bound is the nearest, and with it `now` never goes back between calls.
        date = parsedate_to_datetime(header)
        least, most = date - datetime.now(UTC), date + timedelta(seconds=1) - self._sent
        current = self._ahead
        self._ahead = max(current, least) if current is not None and current <= most else least

    def now(self) -> datetime:
        """The service's time, by the Date headers of its answers; at most a second behind it.

        Look-up windows made from it agree with the records, however this machine's clock is set.
        """
        return datetime.now(UTC) + (self._ahead or timedelta(0))

    @cached_property
    def identity(self) -> Identity:
        """Who calls, by STS.

        Raises CredentialsMissing, Unreachable, or AwsRefused.
        """
        try:
            answer = self("sts").get_caller_identity()
        except (ClientError, BotoCoreError) as error:
            raise explain(error) from error
        except (EOFError, NotImplementedError) as error:  # as a terminal and a kernel say it
            raise CredentialsMissing(
                "The profile asks for an MFA code, and nobody can type it here.",
                "Export credentials of a session that has MFA, or log in by aws sso login.",
            ) from error
        return Identity(answer["Arn"], answer["Account"])

    def renew(self) -> None:
        """Have `identity` ask again; the answer also tells the service's time."""
        self.__dict__.pop("identity", None)

    @property
    def access_key_id(self) -> str:
        """The access key id that calls are signed with."""
        return str(self._session.get_credentials().access_key)

    @property
    def temporary(self) -> bool:
        """Whether the credentials are a session's, and not a long-term access key."""
        return bool(self._session.get_credentials().token)

    @property
    def authorities(self) -> str | None:
        """The file of certificates that the endpoints' are checked by; None: the SDK's own."""
        given: str | None = self._options.get("verify")
        return given or self._session._session.get_config_variable("ca_bundle") or None

    @property
    def endpoint(self) -> str:
        """The URL that Image Builder's calls go to."""
        return str(self("imagebuilder").meta.endpoint_url)

    @property
    def is_aws(self) -> bool:
        """Whether the endpoints are AWS's own, by their host names."""
        return not any(map(self.foreign, fips.NAMES))

    def foreign(self, service: str) -> str | None:
        """The URL of a service's endpoint where it is not AWS's own, by its host name."""
        url = str(self(service).meta.endpoint_url)
        ours = (urlsplit(url).hostname or "").endswith(_aws_domains())
        return None if ours else url


@cache
def _aws_domains() -> tuple[str, ...]:
    """What AWS's host names end in, in all partitions that the SDK knows."""
    partitions = botocore.session.Session().get_component("data_loader").load_data("partitions")
    names = ("dnsSuffix", "dualStackDnsSuffix")
    return tuple({f".{one['outputs'][name]}" for one in partitions["partitions"] for name in names})


def _only_reading(model: Any, params: Mapping[str, Any], **_: Any) -> None:
    service = model.service_model.service_name
    if not reads(service, model.name, params):
        raise ReadOnly(
            f"{service}:{model.name} was not sent: the run may only read (read_only).",
            "Leave read_only out to let the run change something.",
        )


class Identity:
    """The operator: the principal that runs the runbook."""

    def __init__(self, arn: str, account: str) -> None:
        self.arn = arn
        self.account = account

    @property
    def partition(self) -> str:
        """``aws``, ``aws-us-gov``, ``aws-cn``: from the ARN, never assumed."""
        return self.arn.split(":")[1]


_ONE_ATTEMPT = Config(retries={"mode": "standard", "total_max_attempts": 1})


def _config(mode: Literal["standard", "adaptive"], answer_s: float, **more: Any) -> Config:
    return Config(
        user_agent_extra=f"keyrunbook/{version('keyrunbook')}",
        retries={"mode": mode, "total_max_attempts": MAX_ATTEMPTS},
        connect_timeout=5,
        read_timeout=answer_s,
        **more,
    )


@cache
def _models(data_path: str | None) -> Loader:
    """What reads the SDK's models of services and endpoints: one for all sessions of the process.

    It keeps what it has read, and to read it takes most of the time that a new client takes.
    """
    return loader(data_path)


def read_ahead(*services: str) -> None:
    """Read the models of services, so that nobody waits for them when a client is made."""
    for name in services:
        _models(None).load_service_model(name, "service-2")


def _session(
    core: botocore.session.Session, models: Loader, region: str | None = None
) -> boto3.Session:
    core.register_component("data_loader", models)
    session = boto3.Session(botocore_session=core, region_name=region)
    models.search_paths[:] = dict.fromkeys(models.search_paths)  # each session adds boto3's again
    return session


@lru_cache(maxsize=1)
def sandbox_clients(
    handoff: Handoff,
    region: str | None = None,
    *,
    read_only: bool = False,
    answer_s: float = ANSWER_S,
) -> Clients:
    """Clients that reach `handoff`'s endpoint and nothing else, in `region` or the sandbox's.

    A call whose answer takes longer than `answer_s` seconds counts as lost.

    They are kept for the next step in this process: to make them costs more than a step's calls.
    """
    core = botocore.session.Session(
        session_vars={
            "profile": (None, None, None, None),
            "config_file": (None, None, "/dev/null", None),
            "credentials_file": (None, None, "/dev/null", None),
        }
    )
    core.set_credentials(handoff.access_key_id, handoff.secret_access_key)
    session = _session(core, _models(None))
    return Clients(
        session,
        region or handoff.region,
        sandbox=handoff.instance_id,
        read_only=read_only,
        endpoint_url=handoff.endpoint_url,
        verify=handoff.ca_bundle,
        config=_config(
            "standard",
            answer_s,
            proxies={},
            use_fips_endpoint=False,
            use_dualstack_endpoint=False,
            ignore_configured_endpoint_urls=True,
            s3={"addressing_style": "path"},  # no name of a bucket's own to be looked up
        ),
    )


def aws_session(
    profile: str | None, region: str | None, use_fips: bool | None = None
) -> tuple[boto3.Session, bool]:
    """A session on the AWS SDK's own configuration, and whether it takes FIPS endpoints.

    Asks nothing of AWS. `use_fips` unset means what the configuration says. STS is always that of
    the Region: what it is asked must be in the Region's CloudTrail, whatever the configuration
    says of the old global endpoint.
    Source: https://docs.aws.amazon.com/sdkref/latest/guide/feature-sts-regionalized-endpoints.html

    Raises ParameterError for an unknown profile, no Region, one that is none, and one without the
    FIPS endpoints that are asked for.
    """
    core = botocore.session.Session(profile=profile)
    core.set_config_variable("sts_regional_endpoints", "regional")
    try:
        session = _session(core, _models(core.get_config_variable("data_path")), region)
        with_fips = core.get_config_variable("use_fips_endpoint") if use_fips is None else use_fips
    except ProfileNotFound as error:
        raise ParameterError(
            f"{error}.", "Give a profile of your AWS configuration by --profile (profile)."
        ) from error
    except BotoCoreError as error:
        raise explain(error) from error
    if session.region_name is None:
        raise ParameterError(
            "No AWS Region is set.", "Give one by --region (region), or set AWS_DEFAULT_REGION."
        )
    if with_fips and (without := fips.missing(session.region_name)):
        raise ParameterError(
            f"use_fips: in {session.region_name} there is no FIPS endpoint of "
            f"{', '.join(without)}.",
            f"Leave use_fips out, or work elsewhere: {fips.told()}.",
        )
    return session, bool(with_fips)


def aws_clients(
    profile: str | None,
    region: str | None,
    *,
    use_fips: bool | None = None,
    read_only: bool = False,
    answer_s: float = ANSWER_S,
) -> Clients:
    """Clients on the credentials of the AWS SDK's own chain.

    A call whose answer takes longer than `answer_s` seconds counts as lost.

    Raises as `aws_session` does, ParameterError too where FIPS endpoints are asked for and the
    configuration names others, and CredentialsMissing when the chain finds no credentials.
    """
    session, with_fips = aws_session(profile, region, use_fips)
    try:
        credentials = session.get_credentials()
    except BotoCoreError as error:
        raise explain(error) from error
    if credentials is None:
        raise CredentialsMissing(
            "The AWS SDK found no credentials.",
            "Log in (aws sso login), set a profile by --profile, or export credentials.",
        )
    config = _config("adaptive", answer_s, use_fips_endpoint=with_fips)
    clients = Clients(session, session.region_name, config=config, read_only=read_only)
    if with_fips and not clients.is_aws:
        raise ParameterError(
            f"use_fips: the endpoint {clients.endpoint} is not AWS's.",
            "Unset the endpoint variables (AWS_ENDPOINT_URL…), or leave use_fips out.",
        )
    return clients
