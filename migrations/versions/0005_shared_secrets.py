"""Secrets that all processes of the service share: cursors are sealed with one."""

from __future__ import annotations

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("CREATE TABLE shared_secrets (name text PRIMARY KEY, value bytea NOT NULL)")


def downgrade() -> None:
    op.execute("DROP TABLE shared_secrets")
