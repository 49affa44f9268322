"""Eval batches whose responses a server writes, and perplexities of checkpoints.

Revision: c4a71e58d0b9, after: 90b4e2d6c1f7.
"""

import sqlalchemy as sa
from alembic import op

from app.models import types

revision = "c4a71e58d0b9"
down_revision = "90b4e2d6c1f7"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("eval_batch", sa.Column("served", types.Json, nullable=True))
    op.add_column("eval_batch", sa.Column("server_told", types.Json, nullable=True))
    op.create_table(
        "perplexity",
        sa.Column("checkpoint_id", sa.Uuid(), nullable=False),
        sa.Column("dataset_id", sa.Uuid(), nullable=False),
        sa.Column("split", sa.String(length=32), nullable=False),
        sa.Column("fingerprint", sa.String(length=64), nullable=False),
        sa.Column("base_fingerprint", sa.String(length=64), nullable=False),
        sa.Column("file_sha256", sa.String(length=64), nullable=False),
        sa.Column("max_length", sa.Integer(), nullable=False),
        sa.Column("job_id", sa.Uuid(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("measured_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("mean_loss", sa.Double(), nullable=True),
        sa.Column("tokens", sa.Integer(), nullable=True),
        sa.Column("rows", sa.Integer(), nullable=True),
        sa.Column("skipped_rows", sa.Integer(), nullable=True),
        sa.Column("row_losses", types.Json, nullable=True),
        sa.Column("device", sa.String(length=60), nullable=False),
        sa.Column("dtype", sa.String(length=20), nullable=False),
        sa.Column("difference", sa.Double(), nullable=True),
        sa.Column("difference_low", sa.Double(), nullable=True),
        sa.Column("difference_high", sa.Double(), nullable=True),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.ForeignKeyConstraint(
            ["checkpoint_id"], ["checkpoint.id"], name=op.f("fk_perplexity_checkpoint_id_checkpoint")
        ),
        sa.ForeignKeyConstraint(["dataset_id"], ["dataset.id"], name=op.f("fk_perplexity_dataset_id_dataset")),
        sa.ForeignKeyConstraint(["job_id"], ["job.id"], name=op.f("fk_perplexity_job_id_job")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_perplexity")),
        sa.UniqueConstraint("fingerprint", "base_fingerprint", "file_sha256", "max_length", name="uq_perplexity_key"),
    )
    for column in ("checkpoint_id", "dataset_id", "file_sha256", "job_id"):
        op.create_index(op.f(f"ix_perplexity_{column}"), "perplexity", [column], unique=False)


def downgrade() -> None:
    op.drop_table("perplexity")
    op.drop_column("eval_batch", "server_told")
    op.drop_column("eval_batch", "served")
