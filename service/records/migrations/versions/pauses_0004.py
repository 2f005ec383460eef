"""Pauses of alarms."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "pauses",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("bed", sa.String(80), nullable=False, index=True),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("begun_at", sa.Float, nullable=False, index=True),
        sa.Column("until_at", sa.Float, nullable=False),
        sa.Column("begun_by", sa.String(200), nullable=False),
        sa.Column("ended_at", sa.Float),
        sa.Column("ended_by", sa.String(200), nullable=False),
        sa.Column("request_id", sa.String(32), nullable=False),
    )


def downgrade() -> None:
    """Take it away."""
    op.drop_table("pauses")
