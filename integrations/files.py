"""The files that a team writes: its registry of services and its policy."""

from pathlib import Path

from incident.errors import ConfigurationError
from incident.policy import PolicyBook, parse_policy
from incident.secrets_policy import RedactionPolicy, parse_redaction
from incident.services import ServiceRegistry, parse_registry


def read_registry(path: Path) -> ServiceRegistry:
    """The services that the file names.

    Raises:
        ConfigurationError: it is missing or cannot be used.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(
            f"{path}: cannot be read ({error.__class__.__name__}); expected the registry of services, "
            "set SERVICES_FILE to where it is"
        ) from error
    return parse_registry(text, str(path))


def read_policies(path: Path, registry: ServiceRegistry, services_file: Path) -> PolicyBook:
    """The policies that the file and the registry hold; the defaults where there is no such file.

    Args:
        path: the policy file.
        registry: what `services_file` holds.
        services_file: the registry's file, for errors.

    Raises:
        ConfigurationError: one of them cannot be used, or both set the same for a service.
    """
    return parse_policy(_if_there(path) or "", str(path), registry.names, registry.overrides(str(services_file)))


def read_redaction(path: Path) -> RedactionPolicy:
    """What the policy file says of redaction, for those who need no more of it; nothing where there is no such file.

    Raises:
        ConfigurationError: it cannot be used.
    """
    text = _if_there(path)
    return RedactionPolicy() if text is None else parse_redaction(text, str(path))


def _if_there(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path}: cannot be read ({type(error).__name__})") from error
