"""Runs may learn from several datasets, each with its weight.

Revision: 5d1f8a3c7be2, after: 5b1c8e70a4d3.
"""

import sqlalchemy as sa
from alembic import op

revision = "5d1f8a3c7be2"
down_revision = "5b1c8e70a4d3"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "run_dataset",
        sa.Column("run_id", sa.Uuid(), nullable=False),
        sa.Column("dataset_id", sa.Uuid(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("weight", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["run.id"], name=op.f("fk_run_dataset_run_id_run")),
        sa.ForeignKeyConstraint(["dataset_id"], ["dataset.id"], name=op.f("fk_run_dataset_dataset_id_dataset")),
        sa.PrimaryKeyConstraint("run_id", "dataset_id", name=op.f("pk_run_dataset")),
    )
    op.create_index(op.f("ix_run_dataset_dataset_id"), "run_dataset", ["dataset_id"])


def downgrade() -> None:
    op.drop_table("run_dataset")
