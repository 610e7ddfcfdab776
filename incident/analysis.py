"""What an analyst is given, and what comes back: the decision, and who made it at what cost."""

from collections.abc import Collection
from datetime import timedelta
from typing import Self

from pydantic import Field

from incident.anomalies import Assessment
from incident.budget import BudgetLimits
from incident.decision import Decision
from incident.evidence import Evidence
from incident.model import Fact
from incident.redaction import redact

MAX_SHOWN = 100
"""Characters kept of an id that does not exist: it may be any text, and ids have fewer."""


class Case(Fact):
    """Everything an analyst may look at."""

    incident_id: str
    evidence: Evidence
    assessment: Assessment
    explains_within: timedelta = Field(
        description="how shortly before the onset a deployment must go live to explain it"
    )
    budget: BudgetLimits = Field(default=BudgetLimits(), description="how much a model may take for it")

    @property
    def candidates(self) -> tuple[int, ...]:
        """The deployments that may be named as a target: every known one that is not live."""
        return tuple(known.deployment_id for known in self.evidence.deployments.deployments if not known.live)


class Tokens(Fact):
    """What a model's replies cost, repairs included."""

    input: int = Field(ge=0)
    output: int = Field(ge=0)


class Analysis(Fact):
    """A decision and its origin."""

    decision: Decision
    analyst: str = Field(description="`rules`, `openai`, or who decided outside, such as `kestra`")
    model: str = Field(default="", description="the model's name; empty: no model")
    tokens: Tokens | None = Field(default=None, description="null: no model was asked, or its server does not count")
    repairs: int = Field(default=0, ge=0, description="how often the model was shown its errors and asked again")
    because: str = Field(default="", description="why this analyst decided, where another had been asked first")
    invented: tuple[str, ...] = Field(
        default=(), description="since 1.3: cited and not among the evidence, so left out; each lowered the confidence"
    )

    def held_to(self, ids: Collection[str]) -> Self:
        """The analysis without the citations that are not among `ids`.

        Its confidence is multiplied by the share of its citations that exist, each counted once: one of two invented
        halves it, and where all are it is zero, which no policy's `min_confidence` takes.
        """
        cited = tuple(dict.fromkeys(self.decision.evidence_ids))
        kept = tuple(each for each in cited if each in ids)
        if len(kept) == len(cited):
            return self
        confidence = self.decision.confidence * len(kept) / len(cited)
        invented = (redact(each)[:MAX_SHOWN] for each in cited if each not in ids)
        return self.model_copy(
            update={
                "decision": self.decision.model_copy(update={"evidence_ids": kept, "confidence": confidence}),
                "invented": (*self.invented, *invented),
            }
        )
