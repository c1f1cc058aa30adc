"""Which key a profile text is encrypted with; none: it is plain."""

from __future__ import annotations

from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE users ADD COLUMN text_key text")


def downgrade() -> None:
    op.execute("ALTER TABLE users DROP COLUMN text_key")
