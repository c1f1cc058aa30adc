"""`CatalogueStore`: items and users in one object."""

from __future__ import annotations

from sqlalchemy.ext.asyncio import AsyncEngine

from app.privacy.encryption import PLAIN, TextCipher
from app.stores.postgres.items import PostgresItems
from app.stores.postgres.users import PostgresUsers


class PostgresCatalogue(PostgresItems, PostgresUsers):
    """cipher: of profile texts."""

    def __init__(self, engine: AsyncEngine, cipher: TextCipher = PLAIN) -> None:
        PostgresItems.__init__(self, engine)
        PostgresUsers.__init__(self, engine, cipher)
