"""Verdicts that were cast elsewhere: where an eval batch comes from, orders that nobody told, weights of judges.

Revision: 2d9a64b17c3e, after: b7d40c95e21f.
"""

import sqlalchemy as sa
from alembic import op

from app.models import types

revision = "2d9a64b17c3e"
down_revision = "b7d40c95e21f"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("eval_batch", sa.Column("imported_from", types.Json, nullable=True))
    op.add_column("ballot", sa.Column("order_known", sa.Boolean(), nullable=False, server_default=sa.true()))
    op.add_column("verdict", sa.Column("score", sa.Float(), nullable=True))


def downgrade() -> None:
    op.drop_column("verdict", "score")
    op.drop_column("ballot", "order_known")
    op.drop_column("eval_batch", "imported_from")
