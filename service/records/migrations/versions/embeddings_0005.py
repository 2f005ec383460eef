"""Embeddings of a job's windows."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "embeddings",
        sa.Column("job_id", sa.String(32), sa.ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("width", sa.Integer, nullable=False),
        sa.Column("vectors", sa.JSON, nullable=False),
    )


def downgrade() -> None:
    """Take it away."""
    op.drop_table("embeddings")
