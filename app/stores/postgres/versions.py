"""Model versions, and the log of activations whose last standing entry is the live one."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Row, ScalarSelect, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from app.errors import Conflict, NotFound
from app.release.version import ModelVersion
from app.stores.postgres.engine import begin
from app.stores.postgres.revisions import move_revision
from app.stores.postgres.tables import activations, model_versions

NAMES = tuple(model_versions.c.keys())
STANDING = activations.c.rolled_back_at.is_(None)
STANDING_VERSIONS = select(activations.c.version).where(STANDING).order_by(activations.c.seq.desc()).limit(1)
LIVE = STANDING_VERSIONS.scalar_subquery()
EARLIER = STANDING_VERSIONS.offset(1).scalar_subquery()
LAST_ACTIVATED = (
    select(func.max(activations.c.activated_at))
    .where(activations.c.version == model_versions.c.version)
    .scalar_subquery()
)
WHOLE = select(
    model_versions,
    func.coalesce(model_versions.c.version == LIVE, False).label("is_live"),
    LAST_ACTIVATED.label("activated_at"),
)


class PostgresVersions:
    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def add(self, version: ModelVersion) -> None:
        """`is_live` and `activated_at` are not taken over: only `activate` makes a version live."""
        values = {name: getattr(version, name) for name in NAMES}
        async with begin(self._engine) as connection:
            await connection.execute(
                insert(model_versions).values(values | {"data": dict(version.data), "metrics": dict(version.metrics)})
            )

    async def get(self, version: str) -> ModelVersion | None:
        async with begin(self._engine) as connection:
            return await read_version(connection, version)

    async def list_versions(self, *, after: str | None, limit: int) -> list[ModelVersion]:
        """Newest first. `after`: the version the last page ended with."""
        query = WHOLE.order_by(model_versions.c.created_at.desc(), model_versions.c.version.desc()).limit(limit)
        if after is not None:
            place = select(model_versions.c.created_at, model_versions.c.version).where(
                model_versions.c.version == after
            )
            query = query.where(
                func.row(model_versions.c.created_at, model_versions.c.version) < place.scalar_subquery()
            )
        async with begin(self._engine) as connection:
            return [to_version(row) for row in await connection.execute(query)]

    async def live(self) -> ModelVersion | None:
        async with begin(self._engine) as connection:
            return await read_version(connection, LIVE)

    async def earlier(self) -> ModelVersion | None:
        async with begin(self._engine) as connection:
            return await read_version(connection, EARLIER)

    async def activate(self, version: str, *, force: bool = False) -> ModelVersion:
        async with begin(self._engine) as connection:
            await move_revision(connection, "models")
            found = await read_version(connection, version)
            if found is None:
                raise NotFound(f"there is no model version {version!r}", code="model_not_found")
            if found.verdict == "rejected" and not force:
                raise Conflict(
                    f"the gate rejected version {version}: {found.gate_reason}; 'force' activates it all the same",
                    code="gate_rejected",
                )
            if found.is_live:
                await connection.rollback()
                return found
            await connection.execute(insert(activations).values(version=version))
            return await expect_version(connection, version)

    async def rollback(self) -> ModelVersion:
        async with begin(self._engine) as connection:
            await move_revision(connection, "models")
            standing = select(activations.c.seq, activations.c.version).where(STANDING)
            last_two = (await connection.execute(standing.order_by(activations.c.seq.desc()).limit(2))).all()
            if len(last_two) < 2:
                raise Conflict("no version was live before this one", code="no_earlier_version")
            leaving, back_to = last_two
            await connection.execute(
                update(activations).where(activations.c.seq == leaving.seq).values(rolled_back_at=func.now())
            )
            return await expect_version(connection, back_to.version)


async def read_version(connection: AsyncConnection, version: str | ScalarSelect[str]) -> ModelVersion | None:
    row = (await connection.execute(WHOLE.where(model_versions.c.version == version))).one_or_none()
    return None if row is None else to_version(row)


async def expect_version(connection: AsyncConnection, version: str) -> ModelVersion:
    return to_version((await connection.execute(WHOLE.where(model_versions.c.version == version))).one())


def to_version(row: Row[Any]) -> ModelVersion:
    return ModelVersion(**{name: getattr(row, name) for name in (*NAMES, "is_live", "activated_at")})
