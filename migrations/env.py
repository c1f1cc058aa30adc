"""What alembic runs for every command. `app.stores.postgres.migrate` hands over an open connection; there is no ini file."""

from __future__ import annotations

from alembic import context

from app.stores.postgres.tables import metadata

connection = context.config.attributes.get("connection")
if connection is None:
    raise RuntimeError("migrations run through app.stores.postgres.migrate, e.g. by 'duoscene up'")

context.configure(connection=connection, target_metadata=metadata)
with context.begin_transaction():
    context.run_migrations()
