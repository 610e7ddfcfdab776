"""Messages to people, as data. Every text may be untrusted; an adapter escapes and shortens it for its own system."""

from collections.abc import Sequence
from enum import StrEnum

from pydantic import Field

from incident.model import Fact, Moment
from incident.severity import Severity


class ChatKind(StrEnum):
    """What a message is for."""

    ALERT = "alert"
    """The incident's one message in the channel, which goes on saying where it stands."""
    DETAILS = "details"
    """What the gate found and what the claims rest on; only under an alert."""
    QUESTION = "question"
    NOTE = "note"
    """Something small that whoever follows the incident should know."""
    REVIEW = "review"
    REPORT = "report"
    PAGE = "page"
    """What nobody could be paged about."""
    RESOLVE = "resolve"
    CHANGE = "change"


class MessageField(Fact):
    """One labelled value."""

    label: str
    text: str


class Claim(Fact):
    """One thing that the analyst says, which nobody measured."""

    label: str
    text: str
    cites: tuple[str, ...] = Field(default=(), description="ids of the evidence that it is said to rest on")


class Ask(Fact):
    """What a message asks a person to approve or deny, and until when."""

    digest: str = Field(description="of exactly what is proposed; an answer must carry it")
    deadline: Moment


class ChatMessage(Fact):
    """One message to a channel, or a change of one."""

    kind: ChatKind
    incident_id: str
    title: str
    fields: tuple[MessageField, ...]
    claims: tuple[Claim, ...] = Field(default=(), description="what the analyst says, apart from what was measured")
    status: str = Field(default="", description="where the matter stands by now; empty: as the rest says")
    ask: Ask | None = Field(default=None, description="null: nothing is asked, or not any more")
    key: str = Field(default="", description="equal keys are one message, however often it is sent")
    thread: str = Field(default="", description="the message that it stands under, as the chat named it; empty: none")
    announce: bool = Field(default=False, description="whether one that stands under another is shown to everybody")
    stands: str = Field(default="", description="where it stands already: it is changed there instead of posted")
    again: bool = Field(default=False, description="whether it may have been posted before")

    @property
    def said(self) -> tuple[MessageField, ...]:
        """The claims as fields, each with what it cites."""
        return tuple(
            MessageField(label=claim.label, text=f"{claim.text}{_cited(claim.cites)}") for claim in self.claims
        )

    @property
    def text(self) -> str:
        """The message as plain text, a line for each field and each claim."""
        status = (self.status,) if self.status else ()
        lines = (f"{field.label}: {field.text}" for field in (*self.fields, *self.said))
        return "\n".join((self.title, *status, *lines))


def said_again(message: ChatMessage) -> ChatMessage:
    """`message` as a chat sends it that cannot look whether it stands there already."""
    words = "sent again: it may stand here twice"
    said = f"{message.status} ({words})" if message.status else words
    return message.model_copy(update={"status": said}) if message.again else message


def _cited(ids: Sequence[str]) -> str:
    return f" [{', '.join(ids)}]" if ids else ""


class Change(Fact):
    """A change of a service that the pager shows beside its incidents; it wakes nobody."""

    incident_id: str
    summary: str = Field(max_length=1024)
    service: str
    environment: str
    at: Moment
    details: tuple[MessageField, ...] = ()
    url: str = Field(default="", description="of the run that made it; empty: none is known")


class Page(Fact):
    """One page to the person on call."""

    key: str = Field(description="equal keys are one page")
    incident_id: str
    severity: Severity
    priority: str = Field(description="PagerDuty's priority for that severity")
    summary: str = Field(max_length=1024)
    service: str
    environment: str
    details: tuple[MessageField, ...]

    @property
    def text(self) -> str:
        """The page as plain text, a line for each detail."""
        return "\n".join((self.summary, *(f"{field.label}: {field.text}" for field in self.details)))
