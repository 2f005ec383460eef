"""Studies, events, reviews, alarms; a job's and an access's study."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
_NUMBER = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    """Make the tables, and add the columns."""
    _studies()
    _events_and_reviews()
    _alarms()
    # No constraint and no batch: SQLite would rebuild the table, and drop its answers with the old one.
    op.add_column("jobs", sa.Column("study_id", sa.String(32)))
    op.create_index("ix_jobs_study_id", "jobs", ["study_id"])
    op.add_column("accesses", sa.Column("study_id", sa.String(32), nullable=False, server_default=""))
    op.create_index("ix_accesses_study_id", "accesses", ["study_id"])


def _studies() -> None:
    op.create_table(
        "studies",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("file", sa.String(400), nullable=False),
        sa.Column("stamp", sa.String(48), nullable=False),
        sa.Column("source_sha256", sa.String(64), nullable=False),
        sa.Column("opened_at", sa.Float, nullable=False, index=True),
        sa.Column("duration_s", sa.Float, nullable=False),
        sa.Column("channels", sa.JSON, nullable=False),
        sa.Column("segments", sa.JSON, nullable=False),
        sa.Column("notes", sa.JSON, nullable=False),
        sa.UniqueConstraint("file", "stamp"),
    )


def _events_and_reviews() -> None:
    op.create_table(
        "events",
        sa.Column("id", _NUMBER, primary_key=True, autoincrement=True),
        sa.Column("job_id", sa.String(32), sa.ForeignKey("jobs.id", ondelete="CASCADE"), nullable=False, index=True),
        sa.Column("onset_s", sa.Float, nullable=False),
        sa.Column("stop_s", sa.Float, nullable=False),
        sa.Column("predicted_class", sa.String(80), nullable=False),
        sa.Column("confidence", sa.Float, nullable=False),
        sa.Column("n_windows", sa.Integer, nullable=False),
        sa.UniqueConstraint("job_id", "onset_s"),
    )
    op.create_table(
        "reviews",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("request_key", sa.String(300), unique=True),
        sa.Column("study_id", sa.String(32), sa.ForeignKey("studies.id"), nullable=False, index=True),
        sa.Column("reviewer", sa.String(200), nullable=False, index=True),
        sa.Column("created_at", sa.Float, nullable=False),
        sa.Column("start_s", sa.Float, nullable=False),
        sa.Column("stop_s", sa.Float, nullable=False),
        sa.Column("label", sa.String(80), nullable=False),
        sa.Column("confidence", sa.Float),
        sa.Column("withdrawn_at", sa.Float),
    )


def _alarms() -> None:
    op.create_table(
        "alarms",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("bed", sa.String(80), nullable=False, index=True),
        sa.Column("stream", sa.String(32), nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("severity", sa.String(8), nullable=False),
        sa.Column("condition", sa.String(80), nullable=False),
        sa.Column("onset_s", sa.Float, nullable=False),
        sa.Column("raised_at", sa.Float, nullable=False, index=True),
        sa.Column("cleared_at", sa.Float),
        sa.Column("acknowledged_at", sa.Float),
        sa.Column("acknowledged_by", sa.String(200), nullable=False),
        sa.Column("model", sa.String(200), nullable=False),
        sa.Column("model_digest", sa.String(64), nullable=False),
    )


def downgrade() -> None:
    """Take them away."""
    for table in ("accesses", "jobs"):
        op.drop_index(f"ix_{table}_study_id", table)
        op.drop_column(table, "study_id")
    for table in ("alarms", "reviews", "events", "studies"):
        op.drop_table(table)
