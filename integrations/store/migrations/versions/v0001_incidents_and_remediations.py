"""Incidents and remediations, as the first release made them without Alembic: what is there already stays."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Makes each table and index that is not there."""
    op.create_table(
        "incidents",
        sa.Column("incident_id", sa.String(200), primary_key=True),
        sa.Column("service", sa.String(64), nullable=False),
        sa.Column("environment", sa.String(32), nullable=False),
        sa.Column("opened_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("closed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("severity", sa.String(8), nullable=False),
        sa.Column("outcome", sa.String(32), nullable=False),
        sa.Column("classification", sa.String(32), nullable=False),
        sa.Column("snapshot", sa.Text, nullable=False),
        sa.Column("schema_version", sa.String(16), nullable=False),
        if_not_exists=True,
    )
    op.create_index("incidents_newest", "incidents", ["opened_at", "incident_id"], if_not_exists=True)
    op.create_table(
        "remediations",
        sa.Column("correlation_id", sa.String(200), primary_key=True),
        sa.Column("incident_id", sa.String(200), nullable=False),
        sa.Column("service", sa.String(64), nullable=False),
        sa.Column("environment", sa.String(32), nullable=False),
        sa.Column("from_deployment", sa.BigInteger, nullable=False),
        sa.Column("to_deployment", sa.BigInteger, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        if_not_exists=True,
    )
    op.create_index("remediations_of_service", "remediations", ["environment", "service", "at"], if_not_exists=True)
