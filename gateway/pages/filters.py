"""What a person narrows a list by, as the address says it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import urlencode

from gateway.pages.problems import PageError
from incident.search import Place, Wanted
from incident.services import ServiceRegistry
from incident.severity import Severity
from incident.snapshot import Outcome

_SEPARATOR = "~"


@dataclass(frozen=True)
class Choice:
    """One thing to choose."""

    name: str
    label: str
    choices: Sequence[str]
    chosen: str
    any: bool = True
    """Whether nothing need be chosen."""


def wanted(asked: Mapping[str, str], **bounds: object) -> Wanted:
    """The closed incidents that the address asks for.

    Raises:
        PageError: it asks for something that there cannot be.
    """
    said = {name: asked[name] for name in ("service", "environment", "severity", "outcome") if asked.get(name)}
    try:
        return Wanted.model_validate({**said, **bounds, "after": _place(asked.get("after", ""))})
    except ValueError as error:
        raise PageError(422, "No such choice", "The address asks for something that there cannot be.") from error


def onward(asked: Mapping[str, str], place: Place) -> str:
    """The query of the next page."""
    kept = {name: value for name, value in asked.items() if value and name != "after"}
    return urlencode({**kept, "after": f"{place.opened_at.isoformat()}{_SEPARATOR}{place.incident_id}"})


def choices(asked: Wanted, registry: ServiceRegistry, names: Iterable[str]) -> Sequence[Choice]:
    """What can be chosen, and what is."""
    known = {
        "service": sorted(set(registry.names)),
        "environment": sorted({each.environment for each in registry.service}),
        "severity": [each.value for each in Severity],
        "outcome": [each.value for each in Outcome],
    }
    found = []
    for name in names:
        chosen = str(getattr(asked, name) or "")
        # What is asked for may have left the registry since; it stays chosen.
        listed = known[name] if not chosen or chosen in known[name] else [*known[name], chosen]
        found.append(Choice(name, name.capitalize(), listed, chosen))
    return found


def _place(text: str) -> Place | None:
    if not text:
        return None
    opened_at, _, incident_id = text.partition(_SEPARATOR)
    return Place(opened_at=datetime.fromisoformat(opened_at), incident_id=incident_id)
