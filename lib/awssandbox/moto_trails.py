"""The adapter to moto's CloudTrail, which keeps the configuration of trails.

moto is loaded when the first trail is made. What it gets wrong is put right here: selectors of one
kind replace those of the other, times are the sandbox's clock's, and what is delivered is ours.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import cache, cached_property
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    from awssandbox.cloudtrail.delivery import Delivery
    from awssandbox.moto_store import Store
    from awssandbox.world import World

Selector = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class TrailState:
    """A trail as it is configured. `shown` is what describes it, named as in the model."""

    arn: str
    name: str
    account: str
    home_region: str
    multi_region: bool
    logging: bool
    started: datetime | None
    stopped: datetime | None
    selectors: Sequence[Selector]
    advanced: Sequence[Selector]
    tags: Mapping[str, str]
    shown: Mapping[str, Any]


@cache
def _store() -> Store:
    from moto.cloudtrail.models import cloudtrail_backends

    from awssandbox.moto_store import Store

    return Store("cloudtrail", "cloudtrail.{region}.amazonaws.com", cloudtrail_backends)


class Trails:
    """The trails of every account of one sandbox."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._kept: Any = None
        self._states: list[TrailState] | None = None
        self._times: dict[str, dict[str, datetime]] = {}

    @contextmanager
    def _lent(self) -> Iterator[None]:
        """moto's store with this sandbox's trails, and the buckets that they are to fill."""
        from awssandbox.moto_store import Kept

        if self._kept is None:
            self._kept = Kept()
        with ExitStack() as both:
            both.enter_context(self._world.buckets.lent())
            both.enter_context(_store().lent(self._kept))
            yield

    @cached_property
    def delivery(self) -> Delivery:
        """What they deliver."""
        from awssandbox.cloudtrail.delivery import Delivery

        return Delivery(self._world)

    def deliver(self) -> None:
        """Write what was due by now."""
        if self._kept is not None:  # a trail was made
            self.delivery.catch_up()

    def of(self, account: str) -> list[TrailState]:
        """An account's trails in all Regions, by name."""
        return [trail for trail in self.all() if trail.account == account]

    def all(self) -> list[TrailState]:
        """Every trail, by name."""
        if self._states is None:
            self._states = self._read()
        return self._states

    def _read(self) -> list[TrailState]:
        if self._kept is None:
            return []
        from moto.cloudtrail.models import cloudtrail_backends

        with self._lent():
            found = [
                self._state(account, trail, backend.tagging_service)
                for account, backends in cloudtrail_backends.items()
                for backend in backends.values()
                for trail in backend.trails.values()
            ]
        return sorted(found, key=lambda trail: trail.name)

    def _state(self, account: str, trail: Any, tagging: Any) -> TrailState:
        times = self._times.get(trail.arn, {})
        custom = bool(trail.event_selectors or trail.advanced_event_selectors)
        shown = {
            **{name: value for name, value in trail.description(True).items() if value is not None},
            "HasCustomEventSelectors": custom,
        }
        return TrailState(
            trail.arn,
            trail.trail_name,
            account,
            trail.region_name,
            trail.is_multi_region,
            trail.status.is_logging,
            times.get("StartLogging"),
            times.get("StopLogging"),
            tuple(trail.event_selectors),
            tuple(trail.advanced_event_selectors),
            dict(tagging.get_tag_dict_for_resource(trail.arn)),
            shown,
        )

    def run(self, account: str, region: str, operation: str, parameters: Mapping[str, Any]) -> None:
        """Carry out an operation on the trail that `parameters` name by its name.

        Raises AwsError with CloudTrail's code and text.
        """
        from moto.cloudtrail.models import cloudtrail_backends

        with self._lent():
            self._states = None
            _store().call(account, region, operation, parameters)
            backend: Any = cloudtrail_backends[account][region]
            if operation in ("StartLogging", "StopLogging"):
                arn = backend.trails[parameters["Name"]].arn
                now = self._world.clock.now().replace(microsecond=0)
                self._times.setdefault(arn, {})[operation] = now
            elif operation == "PutEventSelectors":
                trail = backend.trails[parameters["TrailName"]]
                trail.event_selectors = list(parameters.get("EventSelectors", ()))
                trail.advanced_event_selectors = list(parameters.get("AdvancedEventSelectors", ()))
            elif operation == "DeleteTrail":
                self._times = {
                    arn: times
                    for arn, times in self._times.items()
                    if not arn.endswith(f":{region}:{account}:trail/{parameters['Name']}")
                }
        self.delivery.catch_up()
