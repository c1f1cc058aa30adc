"""Erasures, so that every process hears of them, and the day a text vector was last read, so that those of gone texts go."""

from __future__ import annotations

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("""
        CREATE TABLE erasures (
            seq bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
            subject bytea NOT NULL,
            erased_at timestamptz NOT NULL DEFAULT now())""")
    op.execute("CREATE INDEX erasures_by_subject ON erasures (subject)")
    op.execute("ALTER TABLE text_vectors ADD COLUMN used_on date NOT NULL DEFAULT CURRENT_DATE")


def downgrade() -> None:
    op.execute("ALTER TABLE text_vectors DROP COLUMN used_on")
    op.execute("DROP TABLE erasures")
