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


def downgrade() -> None:
    op.drop_column("eval_batch", "server_told")
    op.drop_column("eval_batch", "served")
