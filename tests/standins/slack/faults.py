"""The ways in which Slack goes wrong, each for the next `times` calls whose path holds the regex `path`."""

from tests.standins.github.behaviour import Fault, FaultKind, Moment

ANY = "."
_METHOD = "POST"  # stands for every method here
_PAGE = "<!DOCTYPE html><title>Server error!</title>"


def limited(retry_after: int | str | None = None, times: int = 1, path: str = ANY) -> Fault:
    """429, with that Retry-After if one is given."""
    headers = {} if retry_after is None else {"Retry-After": str(retry_after)}
    body = {"ok": False, "error": "ratelimited"}
    return Fault(method=_METHOD, path=path, kind=FaultKind.STATUS, times=times, status=429, headers=headers, body=body)


def error(code: str, times: int = 1, path: str = ANY, **more: object) -> Fault:
    """200, with `ok: false` and that code."""
    body = {"ok": False, "error": code, **more}
    return Fault(method=_METHOD, path=path, kind=FaultKind.STATUS, times=times, status=200, body=body)


def broken(status: int = 500, times: int = 1, path: str = ANY) -> Fault:
    """A server's error, in JSON."""
    body = {"ok": False, "error": "internal_error"}
    return Fault(method=_METHOD, path=path, kind=FaultKind.STATUS, times=times, status=status, body=body)


def said(text: str, status: int = 200, times: int = 1, path: str = ANY, location: str = "") -> Fault:
    """That status and exactly that text, whatever it is, said to be plain text; with `location`, a redirect."""
    headers = {"Content-Type": "text/plain", **({"Location": location} if location else {})}
    return Fault(
        method=_METHOD, path=path, kind=FaultKind.STATUS, times=times, status=status, headers=headers, body=text
    )


def html(status: int = 502, times: int = 1, path: str = ANY) -> Fault:
    """A page of something in between, which did not let the call through."""
    return Fault(method=_METHOD, path=path, kind=FaultKind.HTML, times=times, status=status, body=_PAGE)


def hanging(times: int = 1, path: str = ANY) -> Fault:
    """No answer, until the client goes; the call has no effect."""
    return Fault(method=_METHOD, path=path, kind=FaultKind.HANG, times=times)


def reset(times: int = 1, path: str = ANY) -> Fault:
    """The connection breaks before the call has its effect."""
    return Fault(method=_METHOD, path=path, kind=FaultKind.RESET, times=times)


def accepted_then_cut(times: int = 1, path: str = ANY) -> Fault:
    """The call has its effect, and the connection breaks before the answer."""
    return Fault(method=_METHOD, path=path, kind=FaultKind.RESET, times=times, when=Moment.AFTER)
