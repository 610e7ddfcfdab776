"""The tables, as the newest migration leaves them.

Times are UTC; whatever a query does not ask for by itself lies in the snapshot's JSON text.
"""

from datetime import UTC, datetime

from sqlalchemy import BigInteger, Column, DateTime, Dialect, Index, Integer, MetaData, String, Table, Text
from sqlalchemy.types import TypeDecorator


class UtcDateTime(TypeDecorator[datetime]):
    """An aware time, also where the database keeps no zone."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """UTC, so that all rows sort alike."""
        del dialect
        return value.astimezone(UTC) if value else None

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Aware again."""
        del dialect
        return (value if value.tzinfo else value.replace(tzinfo=UTC)) if value else None


metadata = MetaData()

incidents = Table(
    "incidents",
    metadata,
    Column("incident_id", String(200), primary_key=True),
    Column("service", String(64), nullable=False),
    Column("environment", String(32), nullable=False),
    Column("opened_at", UtcDateTime, nullable=False),
    Column("closed_at", UtcDateTime, nullable=False),
    Column("severity", String(8), nullable=False),
    Column("outcome", String(32), nullable=False),
    Column("classification", String(32), nullable=False),
    Column("snapshot", Text, nullable=False),
    Column("schema_version", String(16), nullable=False),
    Index("incidents_newest", "opened_at", "incident_id"),
)

remediations = Table(
    "remediations",
    metadata,
    Column("correlation_id", String(200), primary_key=True),
    Column("incident_id", String(200), nullable=False),
    Column("service", String(64), nullable=False),
    Column("environment", String(32), nullable=False),
    Column("from_deployment", BigInteger, nullable=False),
    Column("to_deployment", BigInteger, nullable=False),
    Column("state", String(16), nullable=False),
    Column("at", UtcDateTime, nullable=False),
    Column("kind", String(16), nullable=False, server_default="rollback"),
    Index("remediations_of_service", "environment", "service", "at"),
    Index("remediations_by_time", "at"),
)

stops = Table(
    "stops",
    metadata,
    Column("environment", String(32), primary_key=True),
    Column("service", String(64), primary_key=True),
    Column("by", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("at", UtcDateTime, nullable=False),
)
"""The kill switches that are pulled; an empty environment or service stands for all of them."""

model_calls = Table(
    "model_calls",
    metadata,
    Column("call_id", String(64), primary_key=True),
    Column("incident_id", String(200), nullable=False),
    Column("service", String(64), nullable=False),
    Column("environment", String(32), nullable=False),
    Column("at", UtcDateTime, nullable=False),
    Column("tokens", BigInteger, nullable=False),
    Column("cost", BigInteger, nullable=False),
    Index("model_calls_of_incident", "incident_id"),
    Index("model_calls_by_time", "at"),
)
"""What each call to a model took, or may have taken; the cost is in millionths of the prices' currency."""

labels = Table(
    "labels",
    metadata,
    Column("incident_id", String(200), primary_key=True),
    Column("by", String(200), primary_key=True),
    Column("judgement", String(16), nullable=False),
    Column("note", Text, nullable=False),
    Column("at", UtcDateTime, nullable=False),
    Index("labels_by_time", "at"),
)
"""What people said afterwards of incidents: one verdict of each person on each."""

changes = Table(
    "changes",
    metadata,
    Column("environment", String(32), primary_key=True),
    Column("service", String(64), primary_key=True),
    Column("id", String(100), primary_key=True),
    Column("kind", String(16), nullable=False),
    Column("at", UtcDateTime, nullable=False),
    Column("description", Text, nullable=False),
    Column("by", String(200), nullable=False),
    Column("told_at", UtcDateTime, nullable=False),
    Index("changes_of_service", "environment", "service", "at"),
    Index("changes_by_time", "at"),
)
"""What people and programs told of: one change of each id to each service."""

ledger_guard = Table(
    "ledger_guard",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("turns", BigInteger, nullable=False),
)
"""One row: whoever lets a remediation begin, or stops them, takes it first and holds it until the commit."""

budget_guard = Table(
    "budget_guard",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("turns", BigInteger, nullable=False),
)
"""One row: whoever counts a call in takes it first and holds it until the commit."""
