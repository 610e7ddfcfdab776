"""The ways in which PagerDuty goes wrong, each for the next `times` calls of either kind."""

from tests.standins.github.behaviour import Fault, FaultKind, Moment

_EVERY = "^/v2/"
_PAGE = "<!DOCTYPE html><title>Bad gateway</title>"


def limited(retry_after: int | str | None = None, times: int = 1) -> Fault:
    """429, with that Retry-After if one is given."""
    headers = {} if retry_after is None else {"Retry-After": str(retry_after)}
    return Fault(method="POST", path=_EVERY, kind=FaultKind.STATUS, times=times, status=429, headers=headers, body={})


def refused(*errors: str, times: int = 1) -> Fault:
    """400, saying so."""
    body = {"status": "invalid event", "message": "Event object is invalid", "errors": list(errors)}
    return Fault(method="POST", path=_EVERY, kind=FaultKind.STATUS, times=times, status=400, body=body)


def broken(status: int = 500, times: int = 1) -> Fault:
    """A server's error."""
    return Fault(method="POST", path=_EVERY, kind=FaultKind.STATUS, times=times, status=status)


def html(status: int = 502, times: int = 1) -> Fault:
    """A page of something in between, which did not let the call through."""
    return Fault(method="POST", path=_EVERY, kind=FaultKind.HTML, times=times, status=status, body=_PAGE)


def hanging(times: int = 1) -> Fault:
    """No answer, until the client goes; the call has no effect."""
    return Fault(method="POST", path=_EVERY, kind=FaultKind.HANG, times=times)


def reset(times: int = 1) -> Fault:
    """The connection breaks before the call has its effect."""
    return Fault(method="POST", path=_EVERY, kind=FaultKind.RESET, times=times)


def accepted_then_cut(times: int = 1) -> Fault:
    """The call has its effect, and the connection breaks before the answer."""
    return Fault(method="POST", path=_EVERY, kind=FaultKind.RESET, times=times, when=Moment.AFTER)
