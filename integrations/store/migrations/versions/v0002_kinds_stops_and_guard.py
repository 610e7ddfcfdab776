"""Undoings beside rollbacks, the kill switches, and the row that whoever writes to the ledger takes first."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Everything recorded so far is a rollback. The default lets a worker of the release before go on writing."""
    op.add_column("remediations", sa.Column("kind", sa.String(16), nullable=False, server_default="rollback"))
    op.create_index("remediations_by_time", "remediations", ["at"])
    op.create_table(
        "stops",
        sa.Column("environment", sa.String(32), primary_key=True),
        sa.Column("service", sa.String(64), primary_key=True),
        sa.Column("by", sa.Text, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
    )
    guard = op.create_table(
        "ledger_guard",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("turns", sa.BigInteger, nullable=False),
    )
    op.bulk_insert(guard, [{"id": 1, "turns": 0}])
