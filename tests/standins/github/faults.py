"""Faults on order: which call goes wrong, and the ways to go wrong that no web framework offers."""

import json
import re
import socket
import struct
from collections.abc import Sequence
from http import HTTPStatus

from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from tests.standins.github.behaviour import Fault, FaultKind

TRANSPORT = "transport"
"""Where the server keeps a connection's transport, in the state of each request."""
_RESET = struct.pack("ii", 1, 0)  # linger for no time: the connection ends with a reset
_PAGE = "<!DOCTYPE html><html><head><title>Unicorn!</title></head><body>We had issues.</body></html>"


class Faults:
    """The faults that are still to come, oldest first."""

    def __init__(self) -> None:
        self._left: list[tuple[Fault, int]] = []

    def add(self, faults: Sequence[Fault]) -> None:
        """Adds faults behind those that wait already."""
        self._left += [(fault, fault.times) for fault in faults]

    def take(self, method: str, path: str) -> Fault | None:
        """What goes wrong with this call, if anything; uses up one of the fault's times."""
        for place, (fault, left) in enumerate(self._left):
            if fault.method.upper() == method and re.search(fault.path, path):
                self._left[place : place + 1] = [(fault, left - 1)] if left > 1 else []
                return fault
        return None


async def misbehave(fault: Fault, scope: Scope, receive: Receive, send: Send) -> None:
    """Answers as the fault wants it, or does not."""
    if fault.kind is FaultKind.HANG:
        await _until_gone(receive)
    elif fault.kind is FaultKind.RESET:
        _reset(scope)
        await _until_gone(receive)
    else:
        await _reply(fault)(scope, receive, send)


async def _until_gone(receive: Receive) -> None:
    message: Message = {"type": ""}
    while message["type"] != "http.disconnect":
        message = await receive()


def _reset(scope: Scope) -> None:
    transport = scope["state"][TRANSPORT]
    transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    transport.abort()


def _reply(fault: Fault) -> Response:
    headers = dict(fault.headers)
    if fault.kind is FaultKind.HTML:
        return Response(_PAGE if fault.body is None else str(fault.body), fault.status, headers, "text/html")
    if isinstance(fault.body, str):
        return Response(fault.body, fault.status, headers, "application/json")
    body = {"message": HTTPStatus(fault.status).phrase} if fault.body is None else fault.body
    return Response(json.dumps(body), fault.status, headers, "application/json")
