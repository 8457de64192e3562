"""`python -m awssandbox`: serves one sandbox until it is told to end.

When it serves it prints one JSON line on stdout: endpoint_url, region, account, access_key_id,
secret_access_key, ca_bundle. Exit status: 0 ended by its starter (--stop, the end of stdin, the
idle time-out), 2 wrong usage, 5 could not start, 130 ended by a signal.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import re
import signal
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, NoReturn

from awssandbox import leftovers
from awssandbox.clock import Clock
from awssandbox.keeping import Folder, Keeper, NotKept, State
from awssandbox.world import DEFAULT_ACCOUNT, DEFAULT_REGION, World, partition_of

if TYPE_CHECKING:
    from awssandbox.control import Command
    from awssandbox.faults import Faults

CALLED = "AWSSANDBOX_CALLED"
"""The environment variable that holds what its user typed, where that was another command."""
INTERRUPTED = 130
COULD_NOT_START = 5


def main(words: Sequence[str] | None = None) -> int:
    """Serve as the command line says; returns the exit status."""
    gc.disable()  # until all is loaded; `_warm` enables it
    options = _options(words)
    _forget_configuration()
    leftovers.remove()
    try:
        state, keeper = _kept(options) if options.state else (_new(options), None)
    except NotKept as error:
        return _could_not(error.what.removesuffix("."), error.fix)
    with tempfile.TemporaryDirectory(prefix=leftovers.PREFIX) as folder:
        return _Process(options, Path(folder), state, keeper).run()


def _new(options: argparse.Namespace) -> State:
    """A sandbox of its own, with an administrator to give out."""
    world = World(
        seed=options.seed,
        clock=Clock(options.clock),
        event_delay_s=options.event_delay,
        account=options.account,
        region=options.region,
        faults=options.faults,
    )
    seeded = options.seed is not None
    name = world.ids.make("instance", options.account) if seeded else uuid.uuid4().hex
    return State(world, name[:12], world.iam.administrator(world.account))


def _kept(options: argparse.Namespace) -> tuple[State, Keeper]:
    """The sandbox whose state is in a folder, or a new one; and what keeps it there.

    Raises NotKept where the folder cannot be used, or holds another sandbox than the options ask
    for.
    """
    folder = Folder(options.state)
    state = folder.read()
    if state is None:
        state = _new(options)
    else:
        world = state.world
        others = {
            "--account": options.account not in (DEFAULT_ACCOUNT, world.account),
            "--region": options.region not in (DEFAULT_REGION, world.region),
            "--seed": options.seed is not None,
            "--clock": options.clock is not None,
        }
        if wrong := [name for name, is_other in others.items() if is_other]:
            raise NotKept(
                f"{options.state} holds a sandbox already, in account {world.account} and "
                f"{world.region}; {', '.join(wrong)} {'is' if len(wrong) == 1 else 'are'} for a "
                "new one.",
                "Leave it out, or give another --state.",
            )
        world.event_delay_s = options.event_delay
    state.world.keeper = Keeper(folder, state)
    return state, state.world.keeper


def _forget_configuration() -> None:
    """Let no AWS configuration of this machine count here: a missing profile would end botocore."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        del os.environ[name]
    os.environ["AWS_CONFIG_FILE"] = os.environ["AWS_SHARED_CREDENTIALS_FILE"] = os.devnull


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one line, without the list of all options."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message} (see --help)\n")


def _options(words: Sequence[str] | None) -> argparse.Namespace:
    from awssandbox.server import loopback

    parser = _Parser(
        prog=os.environ.get(CALLED, "awssandbox"),
        description="Serves one sandbox until it is told to end.",
    )
    parser.add_argument("--host", default="127.0.0.1", help="an address of this machine only")
    parser.add_argument("--port", type=int, default=0, help="0: a free one")
    parser.add_argument("--tls", action="store_true", help="serve HTTPS, with an own authority")
    parser.add_argument("--seed", type=int, help="make identifiers repeatable")
    parser.add_argument("--clock", type=_moment, metavar="ISO8601", help="where its time starts")
    parser.add_argument("--event-delay", type=float, default=0.0, metavar="SECONDS")
    parser.add_argument("--account", default=DEFAULT_ACCOUNT, help="12 digits")
    parser.add_argument("--region", default=DEFAULT_REGION)
    parser.add_argument("--handoff", type=Path, help="file to write for clients, mode 0600")
    parser.add_argument("--handoff-lock", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--faults", type=_faults, metavar="FILE", help="what is to go wrong")
    parser.add_argument("--state", type=Path, metavar="DIR", help="go on with what is kept there")
    parser.add_argument("--idle-timeout", type=float, metavar="SECONDS")
    parser.add_argument("--until-stdin-closes", action="store_true")
    options = parser.parse_args(words)
    if not re.fullmatch(r"\d{12}", options.account):
        parser.error(f"--account: {options.account!r} is not a number of 12 digits")
    if options.region != DEFAULT_REGION and options.region not in _regions(options.region):
        parser.error(
            f"--region: {options.region!r} is not a Region of KMS, such as {DEFAULT_REGION}"
        )
    if not 0 <= options.port <= 65535:
        parser.error(f"--port: {options.port} is not a port, 0 to 65535")
    if not 0 <= options.event_delay < 90 * 86400:
        parser.error(f"--event-delay: {options.event_delay} is not a time of 0 s to 90 days")
    if options.state is not None and options.faults is not None:
        parser.error("--state and --faults do not go together: what goes wrong is not kept")
    if options.idle_timeout is not None and not options.idle_timeout > 0:
        parser.error(f"--idle-timeout: {options.idle_timeout} is not a number of seconds above 0")
    try:
        loopback(options.host)
    except ValueError as error:
        parser.error(f"--host: {error}; give one of its own, such as 127.0.0.1")
    return options


def _regions(region: str) -> Sequence[str]:
    from awssandbox.services import regions

    return regions(partition_of(region))


def _moment(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
        moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        Clock(moment)
    except (ValueError, OverflowError):
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a time from 1971 to 2999, such as 2026-01-31T09:00:00Z"
        ) from None
    return moment


def _faults(path: str) -> Faults:
    from awssandbox.faults import Faults, ScheduleError, parse

    try:
        return Faults(parse(Path(path).read_text(encoding="utf-8")))
    except OSError as error:
        raise argparse.ArgumentTypeError(f"{path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise argparse.ArgumentTypeError(f"{path}: is not UTF-8") from None
    except ScheduleError as error:
        raise argparse.ArgumentTypeError(f"{path}, {error}") from None


class _Process:
    """One sandbox from start to end. `folder` holds its socket and certificate until then."""

    def __init__(
        self, options: argparse.Namespace, folder: Path, state: State, keeper: Keeper | None
    ) -> None:
        self._options = options
        self._folder = folder
        self._ended = threading.Event()
        self._status = 0
        self._world = state.world
        self._instance_id = state.instance_id
        self._keys = state.administrator
        self._keeper = keeper

    def run(self) -> int:
        """Serve until the end."""
        from awssandbox.control import Control, write_hand_off
        from awssandbox.server import Application, Server, tls_context

        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self._signalled)
        options = self._options
        tls, bundle = tls_context(options.host, self._folder) if options.tls else (None, None)
        application = Application(self._world)
        try:
            server = Server(application, options.host, options.port, tls)
        except OSError as error:
            return _could_not(
                f"{options.host}, port {options.port}: {error}", "Give another --port."
            )
        public = {
            "endpoint_url": server.url,
            "region": self._world.region,
            "account": self._world.account,
            "access_key_id": self._keys.access_key_id,
            "secret_access_key": self._keys.secret_access_key,
            "ca_bundle": None if bundle is None else str(bundle),
        }
        socket = self._folder / leftovers.SOCKET
        try:
            control = Control(socket, self._commands(public))
        except OSError as error:
            server.stop()
            return _could_not(f"{socket}: {error}", "Set TMPDIR to a shorter path.")
        if self._keeper is not None:
            self._keeper.start()
        control.start()
        threading.Thread(target=server.serve, name="http", daemon=True).start()
        hand_off = {
            **public,
            "instance_id": self._instance_id,
            "pid": os.getpid(),
            "control": str(socket),
        }
        try:
            if options.handoff is not None:
                try:
                    write_hand_off(options.handoff, hand_off)
                except OSError as error:
                    return _could_not(
                        f"{options.handoff}: {error}", "Give a --handoff that can be written."
                    )
            if options.handoff_lock is not None:
                os.close(options.handoff_lock)  # from now on others find this sandbox
            print(json.dumps(public), flush=True)
            self._wait(application)
        except BrokenPipeError:
            return _could_not("nobody reads what it prints", "Keep its stdout open.")
        finally:
            self._forget(options.handoff)
            control.server_close()
            server.stop()
            if self._keeper is not None:
                self._keeper.end()
        return self._status

    def _wait(self, application: Any) -> None:
        """Return when the sandbox is to end."""
        options = self._options
        if options.until_stdin_closes:
            threading.Thread(target=self._watch_stdin, name="stdin", daemon=True).start()
        threading.Thread(target=_warm, name="warm", daemon=True).start()
        while not self._ended.wait(timeout=1.0 if options.idle_timeout else None):
            if time.monotonic() - application.last_used > options.idle_timeout:
                return

    def _watch_stdin(self) -> None:
        while sys.stdin.buffer.read(4096):
            pass
        self._ended.set()

    def _signalled(self, number: int, frame: FrameType | None) -> None:
        self._status = INTERRUPTED
        self._ended.set()

    def _forget(self, hand_off: Path | None) -> None:
        """Remove the hand-off file, unless another sandbox has written its own there since."""
        if hand_off is None:
            return
        try:
            if json.loads(hand_off.read_text(encoding="utf-8"))["pid"] == os.getpid():
                hand_off.unlink()
        except (FileNotFoundError, ValueError, KeyError):
            return

    def _commands(self, public: Mapping[str, Any]) -> Mapping[str, Any]:
        def status(asked: Mapping[str, Any]) -> Mapping[str, Any]:
            shown = {name: value for name, value in public.items() if name != "secret_access_key"}
            return {
                **shown,
                "instance_id": self._instance_id,
                "pid": os.getpid(),
                "time": self._world.clock.now().isoformat(timespec="seconds"),
            }

        def stop(asked: Mapping[str, Any]) -> Mapping[str, Any]:
            self._ended.set()
            return {"stopped": self._instance_id, "pid": os.getpid()}

        def advance(asked: Mapping[str, Any]) -> Mapping[str, Any]:
            seconds = asked.get("seconds")
            if isinstance(seconds, bool) or not isinstance(seconds, int | float):
                raise ValueError("advance needs seconds, a number")
            now = self._world.clock.advance(timedelta(seconds=seconds))
            return {"time": now.isoformat(timespec="seconds")}

        def new_account(asked: Mapping[str, Any]) -> Mapping[str, Any]:
            with self._world.lock:
                account = self._world.new_account()
                keys = self._world.iam.administrator(account)
            return {
                **public,
                "account": account,
                "access_key_id": keys.access_key_id,
                "secret_access_key": keys.secret_access_key,
            }

        def faults(asked: Mapping[str, Any]) -> Mapping[str, Any]:
            from awssandbox.faults import Faults, parse

            if self._keeper is not None:
                raise ValueError("a sandbox whose state is kept takes no faults")
            rules = parse(json.dumps(asked.get("rules")))
            with self._world.lock:
                schedule = self._world.faults or Faults(())
                matched = schedule.follow(rules)
                self._world.faults = schedule
            return {"rules": len(rules), "matched_before": matched}

        def kept(change: Command) -> Command:
            def carry_out(asked: Mapping[str, Any]) -> Mapping[str, Any]:
                answer = change(asked)
                if self._keeper is not None:
                    self._keeper.save()
                return answer

            return carry_out

        return {
            "status": status,
            "stop": stop,
            "advance": kept(advance),
            "faults": faults,
            "new-account": kept(new_account),
        }


def _warm() -> None:
    """Load what the first encrypted workflow needs, while nobody waits for it.

    What is loaded stays: the garbage collector need not look at it, neither now nor later.
    """
    try:
        import aws_encryption_sdk  # noqa: F401

        from awssandbox import services

        last = "ec2"  # the largest model of all
        for name in sorted(services.MODULES, key=lambda name: name == last):
            if name not in ("athena", "s3"):  # the slowest to load, and few runs ask them
                services.service(name)
        gc.freeze()
    finally:
        gc.enable()


def _could_not(what: str, fix: str) -> int:
    print(f"The sandbox could not start: {what}. {fix}", file=sys.stderr)
    return COULD_NOT_START


if __name__ == "__main__":
    status = main()
    sys.stdout.flush()
    sys.stderr.flush()
    # Python would take a quarter of a second to take apart what is imported, for nobody.
    os._exit(status)
