"""Groups of events that are durable and not yet in the live state, so that a killed process leaves no stale shopper behind."""

from __future__ import annotations

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("""
        CREATE TABLE unapplied_groups (
            group_id text PRIMARY KEY,
            first_seq bigint, last_seq bigint,
            users text[] NOT NULL DEFAULT '{}', sessions text[] NOT NULL DEFAULT '{}',
            written_at timestamptz NOT NULL DEFAULT now())""")


def downgrade() -> None:
    op.execute("DROP TABLE unapplied_groups")
