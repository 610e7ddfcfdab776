"""People's verdicts on incidents."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Nobody has said anything so far. A program of the release before goes on as it did, and asks nobody."""
    op.create_table(
        "labels",
        sa.Column("incident_id", sa.String(200), primary_key=True),
        sa.Column("by", sa.String(200), primary_key=True),
        sa.Column("judgement", sa.String(16), nullable=False),
        sa.Column("note", sa.Text, nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
    )
    op.create_index("labels_by_time", "labels", ["at"])
