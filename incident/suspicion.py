"""How strongly each service is suspected: for what it shows that nothing behind it explains.

Its errors less those of what it calls; its latency less that of what it calls or waits for; its own CPU and memory; new
kinds of grave log lines; calls that it no longer makes; and answers that its callers wait for although it shows nothing
itself, as when the network to it is slow.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from incident.couplings import Coupling
from incident.signs import Sign, Signs, strength

WAITING = 0.3
"""What waiting for others counts for, of one's own latency: the one that is waited for is the better suspect."""

MEMORY = 0.4
"""What memory counts for: caches fill and collectors run in health too."""

ENTRY = 0.5
"""What the entry counts for: it shows whatever goes wrong behind it, explained or not.

And whom it calls depends on what its users do: that it calls one less is no sign.
"""

OUTSIDE = 0.5
"""What a service counts for that calls nothing in a known graph and reports neither CPU nor memory.

All that is known of it is how its callers see it: a database, but also a load balancer or a name for another service.
"""


def suspicion(
    shown: Signs, calls: Sequence[Coupling], *, graph: bool, entry: str, front: str | None
) -> Mapping[str, float]:
    """By service, from 0; comparable within one trouble only.

    Args:
        shown: what each service shows.
        calls: who calls whom.
        graph: whether the calls are known to go that way; else either may call the other.
        entry: the service that users meet; empty: not known.
        front: the service that answers for the entry, whose errors are those of everything; `None`: not known.
    """
    behind: dict[str, list[str]] = defaultdict(list)
    for call in calls if graph else ():
        behind[call.caller].append(call.callee)
    called = {call.callee for call in calls if graph}
    broken = _broken(shown, calls)
    awaited = _awaited(shown, calls)
    found = {}
    for service, own in shown.items():
        excess = _unexplained(shown, service, behind[service])
        if service == front:
            excess[Sign.ERRORS] -= max((count for name, count in broken.items() if name != front), default=0.0)
        score = sum(
            max(excess[sign], 0) * (_ahead(shown, service, behind, sign) if graph else 1)
            for sign in (Sign.ERRORS, Sign.LATENCY)
        )
        score += max(excess[Sign.WAITING], 0) * WAITING
        score += own.get(Sign.CPU, 0) + own.get(Sign.MEMORY, 0) * MEMORY + own.get(Sign.LOGS, 0)
        score += awaited.get(service, 0) + (0 if service == entry else broken.get(service, 0))
        outside = service in called and not behind[service] and not own.keys() & {Sign.CPU, Sign.MEMORY}
        found[service] = score * (OUTSIDE if outside else ENTRY if service == entry else 1)
    return found


def _unexplained(shown: Signs, service: str, behind: Iterable[str]) -> dict[Sign, float]:
    """What the service shows beyond what the services behind it do."""
    own = shown[service]
    errors, latency = (max((shown.get(name, {}).get(sign, 0.0) for name in behind), default=0.0) for sign in _PASSED_ON)
    waiting = own.get(Sign.WAITING, 0)
    return {
        Sign.ERRORS: own.get(Sign.ERRORS, 0) - errors,
        Sign.LATENCY: own.get(Sign.LATENCY, 0) - max(latency, waiting),
        Sign.WAITING: waiting - latency,
    }


_PASSED_ON = (Sign.ERRORS, Sign.LATENCY)
"""What a service passes on to those that call it."""


def _ahead(shown: Signs, service: str, behind: Mapping[str, Sequence[str]], sign: Sign) -> float:
    """The share of all that shows the sign that the service can explain: itself, and what calls it, however far."""
    callers: dict[str, list[str]] = defaultdict(list)
    for caller, callees in behind.items():
        for callee in callees:
            callers[callee].append(caller)
    reached, ahead = {service}, [service]
    while ahead:
        new = set(callers[ahead.pop()]) - reached
        reached |= new
        ahead.extend(new)
    everything = sum(_passed_on(shown, name, sign) for name in shown)
    return sum(_passed_on(shown, name, sign) for name in reached) / everything if everything else 0.0


def _passed_on(shown: Signs, service: str, sign: Sign) -> float:
    own = shown.get(service, {})
    return max(own.get(sign, 0), own.get(Sign.WAITING, 0) * WAITING if sign is Sign.LATENCY else 0)


def _broken(shown: Signs, calls: Iterable[Coupling]) -> Mapping[str, float]:
    """By caller: that it is still asked, and one that it calls no longer is."""
    found: dict[str, float] = defaultdict(float)
    for call in calls:
        if np.isfinite(call.far):
            starved = strength(-call.far) - shown.get(call.caller, {}).get(Sign.STARVED, 0)
            found[call.caller] = max(found[call.caller], starved)
    return found


def _awaited(shown: Signs, calls: Iterable[Coupling]) -> Mapping[str, float]:
    """By callee: that its callers wait, and no answer that they may wait for is slow where it is given."""
    found: dict[str, float] = defaultdict(float)
    called: dict[str, list[Coupling]] = defaultdict(list)
    for call in calls:
        called[call.caller].append(call)
    for caller, its in called.items():
        slow = max(shown.get(call.callee, {}).get(Sign.LATENCY, 0) for call in its)
        unexplained = max(shown.get(caller, {}).get(Sign.WAITING, 0) - slow, 0)
        whole = max(sum(call.weight for call in its), 1.0)
        for call in its:
            found[call.callee] += unexplained * call.weight / whole
    return found
