"""What a team allows: limits, times and who may approve. The policy in force travels with each incident.

A policy file is TOML: the policy's fields at the top, and overrides per service under `[services.<name>]`. Those of one
service in one environment may stand in the registry instead, which goes over both.
"""

from collections.abc import Iterable, Mapping
from datetime import timedelta
from enum import StrEnum
from typing import Annotated, Any, Literal, Self

from pydantic import Field, ValidationError, model_validator

from incident.anomalies import Thresholds
from incident.budget import BudgetLimits
from incident.errors import ConfigurationError
from incident.freeze import Freeze
from incident.ledger import Quota
from incident.model import Duration, Fact, field_errors
from incident.overrides import Overrides, merged, own_limits, twice
from incident.secrets_policy import RedactionPolicy, read_toml
from incident.sensitivity import Sensitivity
from incident.verifying import RecoveryLimits
from incident.watching import WatchLimits


class Mode(StrEnum):
    """How far the commander may go by itself."""

    SHADOW = "shadow"
    """Says what it would do, and pages."""
    ASK = "ask"
    AUTO = "auto"


_Scope = Annotated[str, Field(pattern=r"^(\*|[a-z][a-z0-9_]{0,31})/(\*|[a-z0-9][a-z0-9-]{0,62})$")]


class Policy(Fact):
    """Everything that bounds what the commander may do to one service, and how long it waits."""

    mode: Mode = Field(
        default=Mode.ASK,
        description="shadow: says what it would do, and pages; ask: a person approves; auto: acts by itself",
    )
    allow: tuple[_Scope, ...] = Field(
        default=("*/*",), description="what may be rolled back at all: <environment>/<service>, * stands for any"
    )
    min_confidence: float = Field(
        default=0.8, ge=0.5, le=1, description="under it a person is asked (the seed's 80 %); at least 0.5"
    )
    deployment_explains_within: Duration = Field(
        default=timedelta(hours=2),
        gt=timedelta(0),
        description="a rollback needs a live deployment activated this shortly before the onset",
    )
    acts_within: Duration = Field(
        default=timedelta(minutes=15),
        gt=timedelta(0),
        description="a live deployment activated longer than this before the onset is asked about, not acted on: what "
        "shows late has other explanations",
    )
    min_signals: int = Field(
        default=2, ge=1, le=6, description="kinds of anomaly that must agree, at least one of them a measured metric"
    )
    max_deployments_back: int = Field(
        default=3, ge=1, description="how many deployments before the live one the target may be at the most"
    )
    service_rollbacks_per_hour: int = Field(default=1, ge=0, description="of one service; then a person is asked")
    fleet_rollbacks_per_hour: int = Field(default=3, ge=0, description="of all services; then a person is asked")
    cool_down: Duration = Field(
        default=timedelta(minutes=30),
        ge=timedelta(0),
        description="after any remediation of the service a person is asked",
    )
    freezes: tuple[Freeze, ...] = Field(default=(), description="windows in which a person is asked")
    undo: bool = Field(
        default=True, description="whether a rollback that made it worse is undone, once; only in mode auto"
    )
    worse_looks: int = Field(
        default=3, ge=1, le=100, description="looks in a row that find it worse before a rollback is undone"
    )
    approvers: tuple[str, ...] = Field(default=(), description="who may approve; none: a question becomes a page")
    known_as: dict[str, str] = Field(
        default={}, description='other names of an approver, such as `"slack:T024/U061" = "ada"`'
    )
    approvals_needed: int = Field(
        default=1, ge=1, le=2, description="2: two people must approve, neither of them who asked for the incident"
    )
    ask_again_after: Duration = Field(
        default=timedelta(minutes=5), gt=timedelta(0), description="a question without an answer is asked again"
    )
    page_unanswered_after: Duration = Field(
        default=timedelta(minutes=10), gt=timedelta(0), description="a question still without an answer is paged"
    )
    wake_again_after: Duration = Field(
        default=timedelta(minutes=5),
        ge=timedelta(0),
        description="since the last page: what gets worse sooner than that wakes nobody anew",
    )
    approve_within: Duration = Field(
        default=timedelta(minutes=15), gt=timedelta(0), description="then nobody may answer, and a person is paged"
    )
    keep_calling_for: Duration = Field(
        default=timedelta(hours=6),
        ge=timedelta(0),
        description="how long an incident that nobody could be told of stays open and goes on trying",
    )
    decide_within: Duration = Field(
        default=timedelta(minutes=2), gt=timedelta(0), description="how long an analyst outside may take"
    )
    page_after: Duration = Field(
        default=timedelta(minutes=5), gt=timedelta(0), description="P0 and nothing done by then: a person is paged"
    )
    page_beside: bool = Field(
        default=False,
        description="whether a person is also paged, at once, where the commander rolls back by itself: if it is the "
        "wrong thing, they have begun already",
    )
    remediate_within: Duration = Field(
        default=timedelta(minutes=30), gt=timedelta(0), description="how long a remediation is followed"
    )
    follow_every: Duration = Field(
        default=timedelta(seconds=10), gt=timedelta(0), description="between two looks at a remediation"
    )
    start_within: Duration = Field(
        default=timedelta(minutes=10), gt=timedelta(0), description="a rollback not begun by then is called off"
    )
    review_within: Duration = Field(
        default=timedelta(days=30), gt=timedelta(0), description="how long reviewers in the target system may take"
    )
    recheck_every: Duration = Field(
        default=timedelta(seconds=30), gt=timedelta(0), description="while a person is asked: is the same one live?"
    )
    worker_lost_after: Duration = Field(
        default=timedelta(seconds=5),
        ge=timedelta(milliseconds=500),
        le=timedelta(seconds=15),
        description="how soon a worker that died is noticed; an action leaves well within it or not at all",
    )
    settle: Duration = Field(
        default=timedelta(seconds=30), ge=timedelta(0), description="from the action to the first look"
    )
    look_every: Duration = Field(
        default=timedelta(seconds=15), ge=timedelta(0), description="between two looks at the service"
    )
    max_looks: int = Field(
        default=40, ge=1, le=500, description="looks at the service before the incident closes; at least 1"
    )
    source_timeout: Duration = Field(
        default=timedelta(seconds=10), gt=timedelta(0), le=timedelta(seconds=25), description="for each source"
    )
    recovery: RecoveryLimits = RecoveryLimits()
    thresholds: Thresholds = Thresholds()
    sensitivity: Sensitivity = Sensitivity()
    watch: WatchLimits = WatchLimits()
    budget: BudgetLimits = BudgetLimits()

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.decide_within >= self.page_after:
            raise ValueError(
                "decide_within: expected less than page_after, or a silent analyst outside would delay the page"
            )
        if unknown := sorted(set(self.known_as.values()) - set(self.approvers)):
            raise ValueError(f"known_as: expected names of approvers, got {', '.join(unknown)}")
        if self.max_looks < self.recovery.stable_looks:
            raise ValueError(
                "max_looks: expected at least recovery.stable_looks, or nothing could ever count as recovered"
            )
        return self

    def person(self, name: str) -> str:
        """Who that is: the approver whose other name it is, or the name itself."""
        return self.known_as.get(name, name)

    def allows(self, environment: str, service: str) -> bool:
        """Whether the allow-list holds that service."""
        return bool({f"{where}/{who}" for where in ("*", environment) for who in ("*", service)} & set(self.allow))

    @property
    def quota(self) -> Quota:
        """How many rollbacks may begin within an hour without a person."""
        return Quota(service_per_hour=self.service_rollbacks_per_hour, fleet_per_hour=self.fleet_rollbacks_per_hour)


class PolicyFile(Policy):
    """A policy with overrides per service: what `policy.toml` holds."""

    version: Literal[1] = 1
    redaction: RedactionPolicy = RedactionPolicy()
    services: dict[str, dict[str, Any]] = Field(default={}, description="per service name: any of the fields above")


class PolicyBook(Fact):
    """The policy of every service, ready to be looked up."""

    default: Policy = Policy()
    services: dict[str, Policy] = Field(default={}, description="per service name")
    registered: dict[str, Policy] = Field(default={}, description="per <environment>/<service>")
    redaction: RedactionPolicy = RedactionPolicy()

    def of(self, service: str, environment: str) -> Policy:
        """The policy in force for `service` there."""
        return self.registered.get(f"{environment}/{service}") or self.services.get(service, self.default)


def parse_policy(
    text: str, where: str, known_services: Iterable[str], registered: Iterable[Overrides] = ()
) -> PolicyBook:
    """The policies that the TOML `text` holds. What it does not say, at any depth, stays as the default has it.

    Args:
        text: the file's content.
        where: the file's name, for errors.
        known_services: the registry's service names; an override of any other is an error.
        registered: what the registry sets, over all that the text says.

    Raises:
        ConfigurationError: a line for each key that is malformed, unknown, allows what it must not, or is set for a
            service both here and in the registry.
    """
    raw = read_toml(text, where)
    base = merged(Policy().model_dump(mode="json"), raw)
    try:
        file = PolicyFile.model_validate(base)
    except ValidationError as error:
        raise ConfigurationError(*field_errors(error, where)) from error
    default = {key: value for key, value in base.items() if key in Policy.model_fields}
    known = set(known_services)
    services: dict[str, Policy] = {}
    problems: list[str] = []
    for name, overrides in file.services.items():
        place = f"{where}: services.{name}"
        if name not in known:
            problems.append(f"{place}: expected a service of the registry: {', '.join(sorted(known)) or 'it has none'}")
            continue
        try:
            services[name] = Policy.model_validate(merged(default, own_limits(overrides)))
        except ValidationError as error:
            problems.extend(field_errors(error, place))
    places = _registered(registered, default, file, where, problems)
    if problems:
        raise ConfigurationError(*problems)
    return PolicyBook(
        default=Policy.model_validate(default), services=services, registered=places, redaction=file.redaction
    )


def _registered(
    registered: Iterable[Overrides], default: Mapping[str, Any], file: PolicyFile, where: str, problems: list[str]
) -> dict[str, Policy]:
    """The policy of each service that the registry sets some of; `problems` gets a line for each key that is wrong."""
    policies: dict[str, Policy] = {}
    for each in registered:
        here = file.services.get(each.service, {})
        problems += twice(each, here, where)
        try:
            policy = Policy.model_validate(merged(default, own_limits(merged(here, each.values))))
        except ValidationError as error:
            problems += field_errors(error, each.place)
        else:
            policies[f"{each.environment}/{each.service}"] = policy
    return policies
