"""Changes that people and programs tell of."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Nobody has told of any so far. A program of the release before goes on as it did, and asks for none."""
    op.create_table(
        "changes",
        sa.Column("environment", sa.String(32), primary_key=True),
        sa.Column("service", sa.String(64), primary_key=True),
        sa.Column("id", sa.String(100), primary_key=True),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("description", sa.Text, nullable=False),
        sa.Column("by", sa.String(200), nullable=False),
        sa.Column("told_at", sa.DateTime(timezone=True), nullable=False),
    )
    op.create_index("changes_of_service", "changes", ["environment", "service", "at"])
    op.create_index("changes_by_time", "changes", ["at"])
