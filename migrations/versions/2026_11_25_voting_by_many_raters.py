"""Voting by many raters: invites, seats, API tokens; checks of an eval batch; seals from the plan to the retraction.

Revision: 8e2f71c3d5a0, after: 4c1d0e6f2a9b.
"""

import sqlalchemy as sa
from alembic import op

from app.models import types

revision = "8e2f71c3d5a0"
down_revision = "4c1d0e6f2a9b"
branch_labels = None
depends_on = None


def _new() -> dict[str, tuple[sa.Column, ...]]:
    return {
        "account": (
            sa.Column("password_hash", sa.String(length=200), nullable=False, server_default=""),
            sa.Column("disabled_at", sa.DateTime(timezone=True), nullable=True),
        ),
        "ballot": (sa.Column("number", sa.Integer(), nullable=True),),
        "eval_batch": (
            sa.Column("rater_limit", sa.Integer(), nullable=True),
            sa.Column("vote_limit", sa.Integer(), nullable=True),
            sa.Column("gold_pairs", sa.Integer(), nullable=False, server_default="0"),
            sa.Column("repeat_pairs", sa.Integer(), nullable=False, server_default="0"),
            sa.Column("placebo_pairs", sa.Integer(), nullable=False, server_default="0"),
            sa.Column("canary_pairs", sa.Integer(), nullable=False, server_default="0"),
            sa.Column("ask_recognised", sa.Boolean(), nullable=False, server_default=sa.false()),
            sa.Column("seal", sa.String(length=64), nullable=True),
        ),
        "pair": (
            sa.Column("self_identifies", sa.Boolean(), nullable=True),
            sa.Column("seal", sa.String(length=64), nullable=True),
        ),
        "tally": tuple(
            sa.Column(name, sa.Integer(), nullable=False, server_default="0")
            for name in ("held", "drawn_first_is_a", "drawn_second_is_a")
        ),
        "verdict": (sa.Column("retraction_seal", sa.String(length=64), nullable=True),),
    }


def upgrade() -> None:
    op.create_table(
        "api_token",
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.String(length=120), nullable=False),
        sa.Column("secret_sha256", sa.String(length=64), nullable=False),
        sa.Column("scopes", types.Json, nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_used_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name=op.f("fk_api_token_account_id_account")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_api_token")),
    )
    op.create_index(op.f("ix_api_token_account_id"), "api_token", ["account_id"], unique=False)

    op.create_table(
        "invite",
        sa.Column("eval_batch_id", sa.Uuid(), nullable=False),
        sa.Column("title", sa.String(length=120), nullable=False),
        sa.Column("token_sha256", sa.String(length=64), nullable=False),
        sa.Column("most_uses", sa.Integer(), nullable=False),
        sa.Column("uses", sa.Integer(), nullable=False),
        sa.Column("created_by", sa.Uuid(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.ForeignKeyConstraint(["created_by"], ["account.id"], name=op.f("fk_invite_created_by_account")),
        sa.ForeignKeyConstraint(["eval_batch_id"], ["eval_batch.id"], name=op.f("fk_invite_eval_batch_id_eval_batch")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_invite")),
        sa.UniqueConstraint("token_sha256", name=op.f("uq_invite_token_sha256")),
    )
    op.create_index(op.f("ix_invite_eval_batch_id"), "invite", ["eval_batch_id"], unique=False)

    op.create_table(
        "seat",
        sa.Column("eval_batch_id", sa.Uuid(), nullable=False),
        sa.Column("voter_id", sa.Uuid(), nullable=False),
        sa.Column("invite_id", sa.Uuid(), nullable=True),
        sa.Column("title", sa.String(length=120), nullable=False),
        sa.Column("joined_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.ForeignKeyConstraint(["eval_batch_id"], ["eval_batch.id"], name=op.f("fk_seat_eval_batch_id_eval_batch")),
        sa.ForeignKeyConstraint(["invite_id"], ["invite.id"], name=op.f("fk_seat_invite_id_invite")),
        sa.ForeignKeyConstraint(["voter_id"], ["voter.id"], name=op.f("fk_seat_voter_id_voter")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_seat")),
        sa.UniqueConstraint("eval_batch_id", "voter_id", name=op.f("uq_seat_eval_batch_id_voter_id")),
    )
    op.create_index(op.f("ix_seat_invite_id"), "seat", ["invite_id"], unique=False)
    op.create_index(op.f("ix_seat_voter_id"), "seat", ["voter_id"], unique=False)

    op.create_table(
        "recognition",
        sa.Column("verdict_id", sa.Uuid(), nullable=False),
        sa.Column("recognised", sa.Boolean(), nullable=False),
        sa.Column("answered_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("seal", sa.String(length=64), nullable=False),
        sa.ForeignKeyConstraint(["verdict_id"], ["verdict.id"], name=op.f("fk_recognition_verdict_id_verdict")),
        sa.PrimaryKeyConstraint("verdict_id", name=op.f("pk_recognition")),
    )
    for table, columns in _new().items():
        for column in columns:
            op.add_column(table, column)
    op.create_index("uq_ballot_number", "ballot", ["eval_batch_id", "voter_id", "number"], unique=True)
    op.execute(
        "UPDATE tally SET"
        " held = (SELECT count(*) FROM ballot AS b WHERE b.pair_id = tally.pair_id AND b.voter_kind = tally.voter_kind"
        " AND NOT b.is_repeat AND b.state IN ('open', 'voted')),"
        " drawn_first_is_a = (SELECT count(*) FROM ballot AS b WHERE b.pair_id = tally.pair_id"
        " AND b.voter_kind = tally.voter_kind AND NOT b.is_repeat AND b.showing = 0 AND b.\"order\" = 'first_is_a'),"
        " drawn_second_is_a = (SELECT count(*) FROM ballot AS b WHERE b.pair_id = tally.pair_id"
        " AND b.voter_kind = tally.voter_kind AND NOT b.is_repeat AND b.showing = 0 AND b.\"order\" = 'second_is_a')"
    )


def downgrade() -> None:
    op.drop_index("uq_ballot_number", "ballot")
    for table, columns in _new().items():
        for column in columns:
            op.drop_column(table, column.name)
    op.drop_table("recognition")
    op.drop_index(op.f("ix_seat_voter_id"), "seat")
    op.drop_index(op.f("ix_seat_invite_id"), "seat")

    op.drop_table("seat")
    op.drop_index(op.f("ix_invite_eval_batch_id"), "invite")

    op.drop_table("invite")
    op.drop_index(op.f("ix_api_token_account_id"), "api_token")

    op.drop_table("api_token")
