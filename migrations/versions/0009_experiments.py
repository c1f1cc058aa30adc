"""A/B tests; a scenario is in one of them at most."""

from __future__ import annotations

from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("""
        CREATE TABLE experiments (
            name text COLLATE "C" PRIMARY KEY, scenario text COLLATE "C" NOT NULL, variants jsonb NOT NULL,
            updated_at timestamptz NOT NULL DEFAULT now()
        )""")
    op.execute("CREATE UNIQUE INDEX experiments_scenario ON experiments (scenario)")


def downgrade() -> None:
    op.execute("DROP TABLE experiments")
