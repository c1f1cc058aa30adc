"""Experiments; what a variant overrides is kept as the same fields of a scenario are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import delete, func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncEngine

from app.errors import Conflict
from app.experiments.experiment import Experiment, Variant
from app.scenarios.scenario import Scenario
from app.stores.postgres.engine import begin
from app.stores.postgres.revisions import move_revision
from app.stores.postgres.scenarios import to_body, to_scenario
from app.stores.postgres.tables import experiments

ANY = Scenario("", "")  # whose other fields nobody reads


class PostgresExperiments:
    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def put(self, experiment: Experiment) -> None:
        values = {"scenario": experiment.scenario, "variants": [_to_json(one) for one in experiment.variants]}
        row = insert(experiments).values(name=experiment.name, **values)
        replace = row.on_conflict_do_update(index_elements=["name"], set_=values | {"updated_at": func.now()})
        try:
            async with begin(self._engine) as connection:
                await move_revision(connection, "scenarios")
                await connection.execute(replace)
        except IntegrityError as error:
            raise Conflict(
                f"scenario {experiment.scenario!r} is in another experiment: delete that one first",
                code="scenario_in_experiment",
            ) from error

    async def delete(self, name: str) -> bool:
        async with begin(self._engine) as connection:
            await move_revision(connection, "scenarios")
            if (await connection.execute(delete(experiments).where(experiments.c.name == name))).rowcount:
                return True
            await connection.rollback()
            return False

    async def all(self) -> list[Experiment]:
        """By name."""
        query = select(experiments.c.name, experiments.c.scenario, experiments.c.variants).order_by(experiments.c.name)
        async with begin(self._engine) as connection:
            return [
                Experiment(name, scenario, tuple(map(_to_variant, variants)))
                for name, scenario, variants in await connection.execute(query)
            ]


def _to_json(variant: Variant) -> dict[str, Any]:
    body = to_body(variant.of(ANY))
    return {
        "name": variant.name,
        "share": variant.share,
        "overrides": {field: body[field] for field in variant.overrides},
    }


def _to_variant(row: Mapping[str, Any]) -> Variant:
    """Fields that a newer release wrote are left out."""
    read = to_scenario("", {**to_body(ANY), **row["overrides"]})
    known = {field: getattr(read, field) for field in row["overrides"] if hasattr(read, field)}
    return Variant(row["name"], row["share"], known)
