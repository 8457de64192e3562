"""One request's way: parse, authenticate, check, authorise, serve, record.

`respond` takes a request from outside, which must be signed; `served` one whose caller is known
already, as services make them for their callers.
"""

from __future__ import annotations

import errno
import sys
import time
import traceback
import uuid
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from botocore.exceptions import UnknownServiceError

from awssandbox import faults, protocol, services
from awssandbox.authenticate import Connection, authenticate, in_words_of, read_signature
from awssandbox.call import Call, Caller
from awssandbox.errors import AwsError, not_imitated
from awssandbox.payload import opened
from awssandbox.protocol import HttpRequest, HttpResponse

if TYPE_CHECKING:
    from awssandbox.services import Service
    from awssandbox.world import World

GLOBAL_SERVICES: Final = frozenset({"iam"})
"""Services that are one for the partition."""

SEES_FILES: Final = frozenset({"athena", "cloudtrail", "s3"})
"""Services whose calls see what trails deliver, or change it."""


def respond(world: World, request: HttpRequest, connection: Connection) -> HttpResponse:
    """Answer a request from outside the sandbox."""
    request_id = str(uuid.uuid4())
    try:
        signature = read_signature(request)
    except AwsError as refusal:
        style = _style_of(request)
        return protocol.error(style, in_words_of(style, refusal), request_id)
    name = services.of_scope(signature.service)
    if name not in services.MODULES:
        return protocol.error(
            _style_of_service(name, request),
            not_imitated(
                f"the service {signature.service}; it serves {', '.join(services.MODULES)}"
            ),
            request_id,
        )
    service = services.service(name)
    try:
        with world.lock:
            caller = authenticate(world, request, signature, connection)
    except AwsError as refusal:
        return _error(service, in_words_of(service.protocol, refusal), request_id)
    if world.faults is not None:
        return _with_faults(world, world.faults, service, request, caller, signature.region)
    answer = served(world, service.name, request, caller, signature.region)
    if world.keeper is not None:
        world.keeper.note(read_only=_only_reads(service, request))
    return answer


def _only_reads(service: Service, request: HttpRequest) -> bool:
    try:
        name = protocol.operation_of(service.model, request).name
    except AwsError:
        return True  # it was refused
    return name not in service.operations or service.operations[name].read_only


def _with_faults(
    world: World,
    schedule: faults.Faults,
    service: Service,
    request: HttpRequest,
    caller: Caller,
    region: str,
) -> HttpResponse:
    """Answer a request as the schedule of faults has it.

    A call that the schedule refuses changes nothing and leaves no record (UNCONFIRMED of AWS).
    Raises ConnectionResetError where the client is to get no answer.
    """
    try:
        operation = protocol.operation_of(service.model, request).name
    except AwsError:
        return served(world, service.name, request, caller, region)
    with world.lock:
        rule = schedule.of_call(service.name, operation)
    if rule is None:
        return served(world, service.name, request, caller, region)
    refusal = faults.refusal(rule, service.name)
    if refusal is not None:
        told = in_words_of(service.protocol, refusal)
        return _error(service, told, str(uuid.uuid4()))
    if rule.fault != faults.RESET_BEFORE:
        answer = served(world, service.name, request, caller, region)
        if rule.fault == faults.TIMEOUT:
            time.sleep(rule.seconds)
            return answer
    # The server takes this as the client's doing, and closes the connection without a word.
    raise ConnectionResetError(errno.ECONNRESET, f"{rule.fault}, by the schedule of faults")


def served(
    world: World, service_name: str, request: HttpRequest, caller: Caller, region: str
) -> HttpResponse:
    """Answer a request of a caller who is known. A fault of the sandbox is a 500 that says so."""
    service = services.service(service_name)
    region = world.global_region if service.name in GLOBAL_SERVICES else region
    request_id = str(uuid.uuid4())
    try:
        return _served(world, service, request, caller, region, request_id)
    except AwsError as refusal:
        return _error(service, refusal, request_id)
    except Exception as fault:  # noqa: BLE001 - one call's fault must not end the server
        traceback.print_exc(file=sys.stderr)
        told = AwsError(
            "InternalFailure",
            f"This is a fault of the sandbox, not of the request: {type(fault).__name__}: {fault}",
            500,
        )
        return _error(service, told, request_id)


def _served(
    world: World,
    service: Service,
    request: HttpRequest,
    caller: Caller,
    region: str,
    request_id: str,
) -> HttpResponse:
    model = protocol.operation_of(service.model, request)
    operation = service.operations.get(model.name)
    if operation is None:
        raise not_imitated(f"{service.name}:{model.name}")
    if service.protocol == "rest-xml":
        request = opened(request)
    parameters = protocol.parameters_of(model, request)
    with world.lock:
        if service.name in SEES_FILES:
            world.deliver()
        call = Call(
            caller,
            service.name,
            model.name,
            parameters,
            region,
            world.clock.now(),
            request_id,
            world,
        )
        known = replace(operation, refused_resources=None, refused_request=lambda call: None)
        try:
            protocol.check(model, parameters, constraints=service.checks_limits(model.name))
            known = operation  # its parameters are there, so the record can be about them
            for access in operation.access(call):
                call.authorise(access)
            before = None if world.faults is None else world.faults.before(call)
            answer = operation.serve(call)
        except AwsError as refusal:
            if refusal.status != NOT_IMITATED and not operation.data_event:
                world.trail.refused(call, known, refusal)
            raise
        if not operation.data_event:
            world.trail.served(call, operation, answer)
        if world.faults is not None and before is not None:
            world.faults.note(call, answer, before)
    return protocol.answer(model, answer.output, request_id)


NOT_IMITATED: Final = 501
"""The status of what the sandbox cannot do. AWS would not have refused: nothing is recorded."""


def _error(service: Service, refusal: AwsError, request_id: str) -> HttpResponse:
    namespace = service.model.metadata.get("xmlNamespace", "")
    return protocol.error(service.protocol, refusal, request_id, namespace)


def _style_of_service(name: str, request: HttpRequest) -> str:
    """The protocol of a service that is not served, so that its client can read the refusal."""
    try:
        return str(services.model(name).metadata["protocol"])
    except UnknownServiceError:
        return _style_of(request)


def _style_of(request: HttpRequest) -> str:
    """The wire protocol by what a request looks like."""
    if "x-amz-target" in request.headers:
        return "json"
    form = "x-www-form-urlencoded" in request.headers.get("content-type", "")
    return "query" if form else "rest-json"
