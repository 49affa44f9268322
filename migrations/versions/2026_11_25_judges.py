"""Judges, the eval batches that they were asked about, and every call that was sent.

Revision: b7d40c95e21f, after: 8e2f71c3d5a0.
"""

import sqlalchemy as sa
from alembic import op

from app.models import types

revision = "b7d40c95e21f"
down_revision = "8e2f71c3d5a0"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "judge",
        sa.Column("voter_id", sa.Uuid(), nullable=False),
        sa.Column("provider", sa.String(length=32), nullable=False),
        sa.Column("base_url", sa.String(length=300), nullable=False),
        sa.Column("model", sa.String(length=200), nullable=False),
        sa.Column("rubric_name", sa.String(length=60), nullable=False),
        sa.Column("rubric_version", sa.Integer(), nullable=False),
        sa.Column("rubric_sha256", sa.String(length=64), nullable=False),
        sa.Column("rubric_text", sa.Text(), nullable=False),
        sa.Column("parameters", types.Json, nullable=False),
        sa.Column("fingerprint", sa.String(length=64), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("retired_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.ForeignKeyConstraint(["voter_id"], ["voter.id"], name=op.f("fk_judge_voter_id_voter")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_judge")),
        sa.UniqueConstraint("fingerprint", name=op.f("uq_judge_fingerprint")),
        sa.UniqueConstraint("voter_id", name=op.f("uq_judge_voter_id")),
    )
    op.create_table(
        "judging",
        sa.Column("eval_batch_id", sa.Uuid(), nullable=False),
        sa.Column("judge_id", sa.Uuid(), nullable=False),
        sa.Column("mode", sa.String(length=32), nullable=False),
        sa.Column("after_id", sa.Uuid(), nullable=True),
        sa.Column("in_batches", sa.Boolean(), nullable=False),
        sa.Column("cap_micro_dollars", sa.BigInteger(), nullable=True),
        sa.Column("projected_micro_dollars", sa.BigInteger(), nullable=True),
        sa.Column("state", sa.String(length=32), nullable=False),
        sa.Column("trouble", sa.String(length=32), nullable=True),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("job_id", sa.Uuid(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.ForeignKeyConstraint(["after_id"], ["judging.id"], name=op.f("fk_judging_after_id_judging")),
        sa.ForeignKeyConstraint(["eval_batch_id"], ["eval_batch.id"], name=op.f("fk_judging_eval_batch_id_eval_batch")),
        sa.ForeignKeyConstraint(["job_id"], ["job.id"], name=op.f("fk_judging_job_id_job")),
        sa.ForeignKeyConstraint(["judge_id"], ["judge.id"], name=op.f("fk_judging_judge_id_judge")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_judging")),
        sa.UniqueConstraint("eval_batch_id", "judge_id", name=op.f("uq_judging_eval_batch_id_judge_id")),
    )
    op.create_index(op.f("ix_judging_eval_batch_id"), "judging", ["eval_batch_id"], unique=False)
    op.create_index(op.f("ix_judging_judge_id"), "judging", ["judge_id"], unique=False)
    op.create_table(
        "judge_call",
        sa.Column("judging_id", sa.Uuid(), nullable=False),
        sa.Column("ballot_id", sa.Uuid(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(length=32), nullable=False),
        sa.Column("request", types.Json, nullable=False),
        sa.Column("worst_micro_dollars", sa.BigInteger(), nullable=True),
        sa.Column("sent_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("provider_batch", sa.String(length=100), nullable=False),
        sa.Column("raw", sa.Text(), nullable=False),
        sa.Column("reply", sa.Text(), nullable=False),
        sa.Column("stop", sa.String(length=32), nullable=True),
        sa.Column("unparsed", sa.String(length=32), nullable=True),
        sa.Column("trouble", sa.String(length=32), nullable=True),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.Column("confidence", sa.String(length=32), nullable=True),
        sa.Column("answered_as", sa.String(length=200), nullable=False),
        sa.Column("request_id", sa.String(length=200), nullable=False),
        sa.Column("latency_ms", sa.Integer(), nullable=True),
        sa.Column("input_tokens", sa.Integer(), nullable=False),
        sa.Column("output_tokens", sa.Integer(), nullable=False),
        sa.Column("cache_write_tokens", sa.Integer(), nullable=False),
        sa.Column("cache_write_1h_tokens", sa.Integer(), nullable=False),
        sa.Column("cache_read_tokens", sa.Integer(), nullable=False),
        sa.Column("cost_micro_dollars", sa.BigInteger(), nullable=True),
        sa.Column("price_table", sa.String(length=100), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.ForeignKeyConstraint(["ballot_id"], ["ballot.id"], name=op.f("fk_judge_call_ballot_id_ballot")),
        sa.ForeignKeyConstraint(["judging_id"], ["judging.id"], name=op.f("fk_judge_call_judging_id_judging")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_judge_call")),
        sa.UniqueConstraint("ballot_id", "attempt", name=op.f("uq_judge_call_ballot_id_attempt")),
    )
    op.create_index("ix_judge_call_judging_state", "judge_call", ["judging_id", "state"], unique=False)
    op.create_index(
        "uq_judge_call_sent",
        "judge_call",
        ["ballot_id"],
        unique=True,
        sqlite_where=sa.text("state = 'sent'"),
        postgresql_where=sa.text("state = 'sent'"),
    )


def downgrade() -> None:
    op.drop_index(
        "uq_judge_call_sent",
        table_name="judge_call",
        sqlite_where=sa.text("state = 'sent'"),
        postgresql_where=sa.text("state = 'sent'"),
    )
    op.drop_index("ix_judge_call_judging_state", table_name="judge_call")
    op.drop_table("judge_call")
    op.drop_index(op.f("ix_judging_judge_id"), table_name="judging")
    op.drop_index(op.f("ix_judging_eval_batch_id"), table_name="judging")
    op.drop_table("judging")
    op.drop_table("judge")
