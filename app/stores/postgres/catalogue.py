"""`CatalogueStore`: items and users in one object."""

from __future__ import annotations

from app.stores.postgres.items import PostgresItems
from app.stores.postgres.users import PostgresUsers


class PostgresCatalogue(PostgresItems, PostgresUsers):
    """Made as `PostgresCatalogue(engine)`."""
