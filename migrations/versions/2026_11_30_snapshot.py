"""Snapshots: statistics that read every verdict of an eval batch, kept by a job.

Revision: 5c1e0a94d7b2, after: 2d9a64b17c3e.
"""

import sqlalchemy as sa
from alembic import op

from app.models import types

revision = "5c1e0a94d7b2"
down_revision = "2d9a64b17c3e"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "snapshot",
        sa.Column("eval_batch_id", sa.Uuid(), nullable=False),
        sa.Column("votes", sa.Integer(), nullable=False),
        sa.Column("content", types.Json, nullable=False),
        sa.Column("made_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["eval_batch_id"], ["eval_batch.id"], name=op.f("fk_snapshot_eval_batch_id_eval_batch")
        ),
        sa.PrimaryKeyConstraint("eval_batch_id", name=op.f("pk_snapshot")),
    )


def downgrade() -> None:
    op.drop_table("snapshot")
