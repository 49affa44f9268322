"""Runs keep the lines of their log and where they come from; a step keeps its tokens and its memory.

Revision: 5b1c8e70a4d3, after: c41f7d2e90ab.
"""

import sqlalchemy as sa
from alembic import op

from app.models import types

revision = "5b1c8e70a4d3"
down_revision = "c41f7d2e90ab"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("run", sa.Column("came_from_id", sa.Uuid(), nullable=True))
    op.add_column("run", sa.Column("sweep_id", sa.Uuid(), nullable=True))
    op.create_index(op.f("ix_run_sweep_id"), "run", ["sweep_id"])
    op.add_column("run_metric", sa.Column("tokens", sa.BigInteger(), nullable=True))
    op.add_column("run_metric", sa.Column("memory_bytes", sa.BigInteger(), nullable=True))
    op.create_table(
        "run_line",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("run_id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("created_at", types.UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["run.id"], name=op.f("fk_run_line_run_id_run")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_run_line")),
    )
    op.create_index("ix_run_line_run_id_id", "run_line", ["run_id", "id"])


def downgrade() -> None:
    op.drop_table("run_line")
    op.drop_column("run_metric", "memory_bytes")
    op.drop_column("run_metric", "tokens")
    op.drop_index(op.f("ix_run_sweep_id"), "run")
    op.drop_column("run", "sweep_id")
    op.drop_column("run", "came_from_id")
