"""Live streams and the outcomes of their hops."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "streams",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("bed", sa.String(80), nullable=False, index=True),
        sa.Column("owner", sa.String(200), nullable=False),
        sa.Column("ch_names", sa.JSON, nullable=False),
        sa.Column("sfreq", sa.Float, nullable=False),
        sa.Column("hop_s", sa.Float, nullable=False),
        sa.Column("model", sa.String(200), nullable=False),
        sa.Column("begun_at", sa.Float, nullable=False, index=True),
        sa.Column("ended_at", sa.Float),
    )
    number = sa.BigInteger().with_variant(sa.Integer, "sqlite")
    op.create_table(
        "hops",
        sa.Column("id", number, primary_key=True, autoincrement=True),
        sa.Column("stream_id", sa.String(32), sa.ForeignKey("streams.id"), nullable=False, index=True),
        sa.Column("start_s", sa.Float, nullable=False),
        sa.Column("stop_s", sa.Float, nullable=False),
        sa.Column("answer", sa.JSON),
        sa.Column("reason", sa.String(64), nullable=False),
        sa.Column("abstained", sa.Boolean, nullable=False),
        sa.Column("plan_version", sa.Integer, nullable=False),
        sa.Column("model_digest", sa.String(64), nullable=False),
        sa.Column("answered_at", sa.Float, nullable=False),
        sa.UniqueConstraint("stream_id", "start_s"),
    )


def downgrade() -> None:
    """Take them away."""
    for table in ("hops", "streams"):
        op.drop_table(table)
