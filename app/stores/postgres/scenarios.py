"""Scenarios that an admin put; the ready-made ones are not kept here."""

from __future__ import annotations

import dataclasses
import json
from datetime import datetime
from typing import Any

from sqlalchemy import delete, func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncEngine

from app.scenarios.scenario import Boost, Caps, Exclusions, Objective, Pin, Promotion, Rotation, Scenario
from app.stores.postgres.engine import begin
from app.stores.postgres.revisions import move_revision
from app.stores.postgres.tables import scenarios

PARTS = {"exclude": Exclusions, "objective": Objective, "rotation": Rotation, "caps": Caps}
LISTS = {"boosts": Boost, "pins": Pin, "page_promotions": Promotion}


class PostgresScenarios:
    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def put(self, scenario: Scenario) -> None:
        row = insert(scenarios).values(name=scenario.name, body=to_body(scenario))
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


def to_body(scenario: Scenario) -> dict[str, Any]:
    """All but the name, as JSON."""
    body: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(scenario), default=datetime.isoformat))
    del body["name"]
    return body


def to_scenario(name: str, body: dict[str, Any]) -> Scenario:
    """Fields that a newer release wrote are left out; fields that an older one did not know get their defaults."""
    values = _known(Scenario, body)
    for field, part in PARTS.items():
        if values.get(field) is not None:
            values[field] = part(**_known(part, values[field]))
    for field, row in LISTS.items():
        values[field] = tuple(row(**_known(row, given)) for given in values.get(field, ()))
    if "fallback" in values:
        values["fallback"] = tuple(values["fallback"])
    return Scenario(**{**values, "name": name})


def _known(kind: type[Any], body: dict[str, Any]) -> dict[str, Any]:
    """Moments are the fields called …_at."""
    names = {field.name for field in dataclasses.fields(kind)}
    return {
        key: datetime.fromisoformat(value) if key.endswith("_at") and value is not None else value
        for key, value in body.items()
        if key in names
    }
