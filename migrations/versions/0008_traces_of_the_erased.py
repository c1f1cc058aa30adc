"""What else an erasure's note has the repair remove from Redis: refused events of the user's sessions, and kept lists."""

from __future__ import annotations

from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("""
        ALTER TABLE unapplied_groups
        ADD COLUMN sole_sessions text[] NOT NULL DEFAULT '{}', ADD COLUMN lists text[] NOT NULL DEFAULT '{}'""")


def downgrade() -> None:
    op.execute("ALTER TABLE unapplied_groups DROP COLUMN sole_sessions, DROP COLUMN lists")
