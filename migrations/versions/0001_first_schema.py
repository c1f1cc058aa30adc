"""The first schema: shop, feedback, scenarios, models, jobs, keys, text vectors and the revisions processes follow."""

from __future__ import annotations

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

TABLES = {
    "items": """
        item_id text COLLATE "C" PRIMARY KEY,
        described boolean NOT NULL DEFAULT false,
        revision bigint NOT NULL DEFAULT 0,
        title text, description text,
        category text[] NOT NULL DEFAULT '{}',
        brand text, price double precision, currency text,
        tags text[] NOT NULL DEFAULT '{}',
        attributes jsonb NOT NULL DEFAULT '{}',
        image_url text, locale text,
        available boolean NOT NULL DEFAULT true,
        published_at timestamptz, expires_at timestamptz,
        created_at timestamptz NOT NULL DEFAULT now(), updated_at timestamptz NOT NULL DEFAULT now()""",
    "users": """
        user_id text COLLATE "C" PRIMARY KEY,
        described boolean NOT NULL DEFAULT false,
        text text, age integer, gender text, occupation text, country text, locale text,
        tags text[] NOT NULL DEFAULT '{}',
        attributes jsonb NOT NULL DEFAULT '{}',
        personalize boolean NOT NULL DEFAULT true,
        train boolean NOT NULL DEFAULT true,
        created_at timestamptz NOT NULL DEFAULT now(), updated_at timestamptz NOT NULL DEFAULT now()""",
    "events": """
        seq bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        event_id text COLLATE "C" NOT NULL,
        type text NOT NULL,
        item_id text COLLATE "C" NOT NULL,
        user_id text COLLATE "C", session_id text COLLATE "C",
        scenario text, recommendation_id text, position integer,
        value double precision, quantity double precision, currency text, order_id text,
        occurred_at timestamptz NOT NULL,
        received_at timestamptz NOT NULL DEFAULT now(),
        context jsonb, retracted_at timestamptz""",
    "impressions": """
        recommendation_id text COLLATE "C" PRIMARY KEY,
        scenario text NOT NULL, model_version text NOT NULL, variant text,
        user_id text COLLATE "C", session_id text COLLATE "C",
        shown_at timestamptz NOT NULL,
        item_ids text[] NOT NULL, scores real[] NOT NULL, propensities real[] NOT NULL,
        context jsonb""",
    "scenarios": """
        name text COLLATE "C" PRIMARY KEY,
        body jsonb NOT NULL,
        updated_at timestamptz NOT NULL DEFAULT now()""",
    "model_versions": """
        version text COLLATE "C" PRIMARY KEY,
        created_at timestamptz NOT NULL,
        mode text NOT NULL, data jsonb NOT NULL, metrics jsonb NOT NULL,
        verdict text NOT NULL, gate_reason text NOT NULL DEFAULT '',
        job_id text COLLATE "C" """,
    "activations": """
        seq bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        version text COLLATE "C" NOT NULL REFERENCES model_versions (version),
        activated_at timestamptz NOT NULL DEFAULT now(),
        rolled_back_at timestamptz""",
    "jobs": """
        job_id text COLLATE "C" PRIMARY KEY,
        mode text NOT NULL, state text NOT NULL, activation text NOT NULL, reason text,
        created_at timestamptz NOT NULL DEFAULT now(), started_at timestamptz, finished_at timestamptz,
        stage text NOT NULL DEFAULT '', progress double precision NOT NULL DEFAULT 0, eta_seconds double precision,
        model_version text, metrics jsonb NOT NULL DEFAULT '{}', error text,
        log_tail text[] NOT NULL DEFAULT '{}',
        worker_id text, lease_until timestamptz, cancel_requested boolean NOT NULL DEFAULT false""",
    "api_keys": """
        key_id text COLLATE "C" PRIMARY KEY,
        name text NOT NULL, scopes text[] NOT NULL, sha256 text NOT NULL,
        created_at timestamptz NOT NULL, revoked_at timestamptz""",
    "text_vectors": """
        encoder text NOT NULL, hash bytea NOT NULL, vector bytea NOT NULL,
        PRIMARY KEY (encoder, hash)""",
    "revisions": "name text PRIMARY KEY, value bigint NOT NULL DEFAULT 0",
}
INDEXES = (
    "CREATE INDEX items_by_revision ON items (revision, item_id) WHERE revision > 0",
    "CREATE UNIQUE INDEX events_event_id ON events (event_id)",
    "CREATE INDEX events_by_user ON events (user_id, occurred_at, seq) WHERE user_id IS NOT NULL",
    "CREATE INDEX events_by_session ON events (session_id, occurred_at, seq) WHERE session_id IS NOT NULL",
    "CREATE INDEX events_by_time ON events (occurred_at, seq)",
    "CREATE INDEX impressions_by_time ON impressions (shown_at)",
    "CREATE UNIQUE INDEX jobs_one_open ON jobs ((true)) WHERE state IN ('queued', 'running')",
    "CREATE UNIQUE INDEX api_keys_sha256 ON api_keys (sha256)",
)


def upgrade() -> None:
    for name, columns in TABLES.items():
        op.execute(f"CREATE TABLE {name} ({columns})")
    for index in INDEXES:
        op.execute(index)
    op.execute("INSERT INTO revisions (name) VALUES ('catalogue'), ('scenarios'), ('models'), ('keys')")


def downgrade() -> None:
    for name in reversed(TABLES):
        op.execute(f"DROP TABLE {name}")
