"""Runs keep what the model sees of their first rows.

Revision: 90b4e2d6c1f7, after: 7e3b90c1d4fa.
"""

import sqlalchemy as sa
from alembic import op

from app.models import types

revision = "90b4e2d6c1f7"
down_revision = "7e3b90c1d4fa"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("run", sa.Column("preview", types.Json, nullable=True))


def downgrade() -> None:
    op.drop_column("run", "preview")
