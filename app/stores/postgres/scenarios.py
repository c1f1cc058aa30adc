"""Scenarios that an admin put; the ready-made ones are not kept here."""

from __future__ import annotations

import dataclasses
from typing import Any

from sqlalchemy import delete, func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncEngine

from app.scenarios.scenario import Exclusions, Scenario
from app.stores.postgres.engine import begin
from app.stores.postgres.revisions import move_revision
from app.stores.postgres.tables import scenarios


class PostgresScenarios:
    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def put(self, scenario: Scenario) -> None:
        body = dataclasses.asdict(scenario)
        row = insert(scenarios).values(name=body.pop("name"), body=body)
        replace = row.on_conflict_do_update(
            index_elements=["name"], set_={"body": row.excluded.body, "updated_at": func.now()}
        )
        async with begin(self._engine) as connection:
            await move_revision(connection, "scenarios")
            await connection.execute(replace)

    async def delete(self, name: str) -> bool:
        async with begin(self._engine) as connection:
            await move_revision(connection, "scenarios")
            if (await connection.execute(delete(scenarios).where(scenarios.c.name == name))).rowcount:
                return True
            await connection.rollback()
            return False

    async def all(self) -> list[Scenario]:
        """By name."""
        query = select(scenarios.c.name, scenarios.c.body).order_by(scenarios.c.name)
        async with begin(self._engine) as connection:
            return [to_scenario(name, body) for name, body in await connection.execute(query)]


def to_scenario(name: str, body: dict[str, Any]) -> Scenario:
    """Fields that a newer release wrote are left out; fields that an older one did not know get their defaults."""
    known = {field.name for field in dataclasses.fields(Scenario)}
    values = {key: value for key, value in body.items() if key in known}
    values["exclude"] = Exclusions(**values.get("exclude", {}))
    if "fallback" in values:
        values["fallback"] = tuple(values["fallback"])
    return Scenario(name=name, **values)
