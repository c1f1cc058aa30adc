"""Keys: when each was last used, and a request rate of its own."""

from __future__ import annotations

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE api_keys ADD COLUMN last_used_at timestamptz, ADD COLUMN rate_limit_per_minute integer")


def downgrade() -> None:
    op.execute("ALTER TABLE api_keys DROP COLUMN last_used_at, DROP COLUMN rate_limit_per_minute")
