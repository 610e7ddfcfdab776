"""What calls to models took, and the row that whoever counts one in takes first."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Nothing was counted so far. A worker of the release before goes on as it did, and counts nothing."""
    op.create_table(
        "model_calls",
        sa.Column("call_id", sa.String(64), primary_key=True),
        sa.Column("incident_id", sa.String(200), nullable=False),
        sa.Column("service", sa.String(64), nullable=False),
        sa.Column("environment", sa.String(32), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("tokens", sa.BigInteger, nullable=False),
        sa.Column("cost", sa.BigInteger, nullable=False),
    )
    op.create_index("model_calls_of_incident", "model_calls", ["incident_id"])
    op.create_index("model_calls_by_time", "model_calls", ["at"])
    guard = op.create_table(
        "budget_guard",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("turns", sa.BigInteger, nullable=False),
    )
    op.bulk_insert(guard, [{"id": 1, "turns": 0}])
