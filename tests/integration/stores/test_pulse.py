"""Signs of life of a database."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import asyncpg
import pytest

from app.errors import Unavailable
from app.stores.postgres.pulse import Pulse


@pytest.fixture
async def pulse(database_url: str) -> AsyncIterator[Pulse]:
    """Of a url with an option of SQLAlchemy's, one that every driver call sets, and a limit that is a text."""
    mark = "&" if "?" in database_url else "?"
    pulse = Pulse(f"{database_url}{mark}prepared_statement_cache_size=0&timeout=9&command_timeout=9")
    yield pulse
    await pulse.close()


async def test_options_of_other_connections_are_left_out(pulse: Pulse) -> None:
    assert await pulse.beats(10.0)


async def test_a_database_that_failed_in_an_unknown_way_is_found_again(
    pulse: Pulse, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(**options: object) -> None:
        raise EOFError("0 bytes read")

    with monkeypatch.context() as patched:
        patched.setattr(asyncpg, "connect", fail)
        with pytest.raises(Unavailable):
            await pulse.hold(asyncio.sleep(1.0), 5.0)
        assert pulse.is_away
    async with asyncio.timeout(10.0):
        while pulse.is_away:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    assert await pulse.hold(asyncio.sleep(0, "done"), 5.0) == "done"
