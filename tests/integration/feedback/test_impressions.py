"""Impressions never hold a request, are written in groups, and are dropped by count when the store is away."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime

import pytest
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncEngine

from app.feedback import impressions as module
from app.feedback.event import Impression
from app.feedback.impressions import ImpressionWriter
from app.stores.postgres.engine import create_engine
from app.stores.postgres.impressions import PostgresImpressions
from app.stores.postgres.tables import impressions

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)


def shown(name: str, **more: object) -> Impression:
    return Impression(name, "home", "v1", NOON, ("a",), (0.5,), (1.0,), **more)  # type: ignore[arg-type]


async def stored(engine: AsyncEngine) -> int:
    async with engine.connect() as connection:
        return (await connection.execute(select(func.count()).select_from(impressions))).scalar_one()


async def test_close_writes_all_that_was_shown(engine: AsyncEngine) -> None:
    writer = ImpressionWriter(PostgresImpressions(engine))
    await writer.start()
    for n in range(1_200):
        writer.write(shown(f"r{n}"))
    await writer.close()
    assert (await stored(engine), writer.written, writer.dropped, writer.pending) == (1_200, 1_200, 0, 0)


async def test_one_that_cannot_be_held_is_dropped_alone(engine: AsyncEngine) -> None:
    writer = ImpressionWriter(PostgresImpressions(engine))
    await writer.start()
    for n in range(10):
        writer.write(shown(f"r{n}", context={"k": "\0"} if n == 3 else {}))
    await writer.close()
    assert (await stored(engine), writer.dropped) == (9, 1)


async def test_without_a_store_the_backlog_is_bounded_and_close_returns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CLOSE_SECONDS", 0.2)
    engine = create_engine("postgresql://nobody@127.0.0.1:1/none")
    writer = ImpressionWriter(PostgresImpressions(engine), max_pending=10)
    await writer.start()
    for n in range(25):
        writer.write(shown(f"r{n}"))
    assert (writer.pending, writer.dropped) == (10, 15)
    async with asyncio.timeout(2):
        await writer.close()
    assert (writer.pending, writer.dropped, writer.written) == (0, 25, 0)
    await engine.dispose()


async def test_what_is_shown_soon_after_a_group_is_one_more_group(
    engine: AsyncEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PAUSE_SECONDS", 60.0)
    groups: list[int] = []
    first_is_told = asyncio.Event()

    async def told(group: Sequence[Impression]) -> None:
        groups.append(len(group))
        first_is_told.set()

    writer = ImpressionWriter(PostgresImpressions(engine), shown=told)
    await writer.start()
    writer.write(shown("first"))
    await first_is_told.wait()
    for n in range(10):
        writer.write(shown(f"r{n}"))
        await asyncio.sleep(0)
    await writer.close()
    assert (groups, await stored(engine)) == ([1, 10], 11)
