"""Packages of checkpoints that are taken elsewhere, and trials of the playground.

Revision: c41f7d2e90ab, after: c4a71e58d0b9.
"""

import sqlalchemy as sa
from alembic import op

from app.models import types

revision = "c41f7d2e90ab"
down_revision = "c4a71e58d0b9"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "package",
        sa.Column("checkpoint_id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("number_format", sa.String(length=32), nullable=False),
        sa.Column("card", sa.Text(), nullable=False),
        sa.Column("folder", sa.String(length=1000), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("off", sa.Double(), nullable=True),
        sa.Column("job_id", sa.Uuid(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ready_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.ForeignKeyConstraint(["checkpoint_id"], ["checkpoint.id"], name=op.f("fk_package_checkpoint_id_checkpoint")),
        sa.ForeignKeyConstraint(["job_id"], ["job.id"], name=op.f("fk_package_job_id_job")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_package")),
        sa.UniqueConstraint(
            "checkpoint_id", "kind", "number_format", name=op.f("uq_package_checkpoint_id_kind_number_format")
        ),
    )
    op.create_table(
        "trial",
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("base_model_id", sa.Uuid(), nullable=False),
        sa.Column("prompt", sa.Text(), nullable=False),
        sa.Column("sampling", types.Json, nullable=False),
        sa.Column("members", types.Json, nullable=False),
        sa.Column("texts", types.Json, nullable=False),
        sa.Column("job_id", sa.Uuid(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name=op.f("fk_trial_account_id_account")),
        sa.ForeignKeyConstraint(["base_model_id"], ["base_model.id"], name=op.f("fk_trial_base_model_id_base_model")),
        sa.ForeignKeyConstraint(["job_id"], ["job.id"], name=op.f("fk_trial_job_id_job")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_trial")),
    )
    op.create_index(op.f("ix_trial_account_id"), "trial", ["account_id"])


def downgrade() -> None:
    op.drop_table("trial")
    op.drop_table("package")
