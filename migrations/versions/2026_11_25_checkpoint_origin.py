"""Checkpoints whose weights are not here say what they are.

Revision: 4c1d0e6f2a9b, after: b176fab548fe.
"""

import sqlalchemy as sa
from alembic import op

from app.models import types

revision = "4c1d0e6f2a9b"
down_revision = "b176fab548fe"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("checkpoint", sa.Column("origin", types.Json, nullable=True))


def downgrade() -> None:
    op.drop_column("checkpoint", "origin")
