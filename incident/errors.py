"""What can go wrong with the outside world, split by the one question that matters: is it worth trying again?

Texts name the system and may reach Slack: no tokens, no URLs that hold a key, no customer data.
"""

from datetime import timedelta


class IntegrationError(Exception):
    """An outside system did not do what it was asked."""

    def __init__(self, system: str, problem: str) -> None:
        super().__init__(f"{system}: {problem}")
        self.system = system
        self.problem = problem


class TransientError(IntegrationError):
    """Worth another try: unreachable, overloaded, timed out, rate-limited."""

    def __init__(self, system: str, problem: str, retry_after: timedelta | None = None) -> None:
        super().__init__(system, problem)
        self.retry_after = retry_after


class PermanentError(IntegrationError):
    """Trying again changes nothing: refused, unknown, misconfigured."""


class NotOpenError(PermanentError):
    """The incident has closed, or there never was one."""


class RefusedError(PermanentError):
    """The incident does not take what it was told."""

    def __init__(self, problem: str, errors: tuple[str, ...] = (), *, awaited: bool) -> None:
        super().__init__("incident", problem)
        self.errors = errors
        """One line for each field that does not validate; empty: it is not about fields."""
        self.awaited = awaited
        """Whether such an answer is awaited at all."""


class UnknownServiceError(PermanentError):
    """The registry of services holds no such service in that environment."""

    def __init__(self, environment: str, service: str, known: tuple[str, ...]) -> None:
        super().__init__(
            "services.toml",
            f"no service {service!r} in environment {environment!r}; known: {', '.join(known) or 'none'}",
        )


class AnalystUnusableError(PermanentError):
    """The analyst answered, and no decision can be made of it: refused, cut off, or invalid after its repairs."""


class BudgetSpentError(PermanentError):
    """A model is not asked: what the policy allows for it is spent, or cannot be counted now."""

    def __init__(self, problem: str) -> None:
        super().__init__("budget", problem)


class ConfigurationError(Exception):
    """A file or setting that cannot be used; each line names the place and what was expected there."""

    def __init__(self, *lines: str) -> None:
        super().__init__("\n".join(lines))
        self.lines = lines
