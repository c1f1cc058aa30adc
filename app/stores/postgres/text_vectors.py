"""Encoded texts by content hash: a cache that any process may fill and anybody may empty."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from sqlalchemy import LargeBinary, any_, func, literal, select, update
from sqlalchemy.dialects.postgresql import ARRAY, insert
from sqlalchemy.ext.asyncio import AsyncEngine

from app.stores.postgres.engine import begin
from app.stores.postgres.tables import text_vectors
from app.types import Float32Array

STORED = np.dtype("<f2")
CHUNK = 5_000
TODAY = func.current_date()


class PostgresTextVectors:
    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def get_many(self, encoder: str, hashes: Sequence[bytes]) -> dict[bytes, Float32Array]:
        """float32 [D] by hash; those not in the cache are left out. Kept as float16."""
        found: dict[bytes, Float32Array] = {}
        for start in range(0, len(hashes), CHUNK):
            wanted = literal(list(hashes[start : start + CHUNK]), ARRAY(LargeBinary))
            named = text_vectors.c.encoder == encoder, text_vectors.c.hash == any_(wanted)
            query = select(text_vectors.c.hash, text_vectors.c.vector).where(*named)
            used = update(text_vectors).where(*named, text_vectors.c.used_on < TODAY).values(used_on=TODAY)
            async with begin(self._engine) as connection:
                for key, vector in await connection.execute(query):
                    found[key] = np.frombuffer(vector, STORED).astype(np.float32)
            async with begin(self._engine) as connection:
                await connection.execute(used)
        return found

    async def put_many(self, encoder: str, vectors: Mapping[bytes, Float32Array]) -> None:
        """vectors: one-dimensional, any float type; a hash that is there already keeps its vector."""
        rows = [
            {"encoder": encoder, "hash": key, "vector": np.asarray(vectors[key]).astype(STORED).tobytes()}
            for key in sorted(vectors)
        ]
        for start in range(0, len(rows), CHUNK):
            async with begin(self._engine) as connection:
                await connection.execute(insert(text_vectors).on_conflict_do_nothing(), rows[start : start + CHUNK])
