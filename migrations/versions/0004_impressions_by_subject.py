"""Slates by user and by session: what a shopper was shown is read whenever a live state is built."""

from __future__ import annotations

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

COLUMNS = {"impressions_by_user": "user_id", "impressions_by_session": "session_id"}


def upgrade() -> None:
    for name, column in COLUMNS.items():
        op.execute(f"CREATE INDEX {name} ON impressions ({column}, shown_at) WHERE {column} IS NOT NULL")


def downgrade() -> None:
    for name in COLUMNS:
        op.execute(f"DROP INDEX {name}")
