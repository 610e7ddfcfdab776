"""The services of the registry as a person sees them: where their sources are, and how each of them stands."""

from collections.abc import Mapping
from pathlib import Path
from typing import get_args

from rich import box
from rich.console import RenderableType
from rich.table import Table

from commander.line import Listing
from commander.view import plain
from incident.errors import ConfigurationError
from incident.identifiers import parse_incident_id
from incident.services import EndpointName, Service, ServiceRegistry

STARTER = Path(__file__).with_name("starter.toml")
"""A registry of one mock service, which says in comments what else there is."""


def services(registry: ServiceRegistry, listing: Listing) -> RenderableType:
    """A row for each service; its state is the open incident, none, or not known."""
    table = Table(box=box.SIMPLE_HEAVY)
    for column in ("service", "environment", "sources", "owners", "needs", "state"):
        table.add_column(column, overflow="fold")
    standing = {parse_incident_id(each.incident_id): each for each in listing.entries if each.lasted is None}
    for service in registry.service:
        entry = standing.get((service.environment, service.name))
        none = "not known" if listing.open_unknown else "no open incident"
        state = f"{entry.severity} {entry.stands}: {entry.incident_id}".strip() if entry else none
        table.add_row(
            service.name,
            service.environment,
            "\n".join(f"{kind}: {', '.join(names)}" for kind, names in _sources(service).items()),
            plain("\n".join(service.owners)),
            "\n".join(service.depends_on),
            plain(state),
        )
    return table


def _sources(service: Service) -> Mapping[str, list[EndpointName]]:
    """What is read of each kind of system."""
    kinds: dict[str, list[EndpointName]] = {}
    for name in get_args(EndpointName):
        kinds.setdefault(service.endpoint(name).kind, []).append(name)
    return kinds


def write_starter(path: Path) -> None:
    """Writes a commented registry to `path`.

    Raises:
        ConfigurationError: something is there already, and stays as it is; or it cannot be written.
    """
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(STARTER.read_text(encoding="utf-8"))
    except FileExistsError as error:
        raise ConfigurationError(f"{path}: is there already, and stays as it is") from error
    except OSError as error:
        raise ConfigurationError(f"{path}: cannot be written ({type(error).__name__})") from error
