"""What a server told of itself is sealed.

Revision: e8a25c0f6b14, after: 5d1f8a3c7be2.
"""

import sqlalchemy as sa
from alembic import op

revision = "e8a25c0f6b14"
down_revision = "5d1f8a3c7be2"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("eval_batch", sa.Column("server_seal", sa.String(length=64), nullable=True))


def downgrade() -> None:
    op.drop_column("eval_batch", "server_seal")
