"""Slates that are asked for at once are made together, and come out as if each had been asked for alone."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from app.encoding.encoder import Encoder
from app.errors import Invalid
from app.feedback.state import HistoryEntry, UserState
from app.retrieval.filters import parse_filter
from app.retrieval.snapshot import Snapshot
from app.scenarios.defaults import READY_MADE
from app.serving.batching import LOOP_SECONDS, Drafting
from app.serving.draft import Draft
from app.serving.live import LiveSnapshot
from app.serving.pipeline import draft_slate, draft_slates
from app.serving.rules import Asked
from app.serving.slate import SlateRequest
from tests.integration.serving.conftest import NOW
from tests.integration.serving.slates import ids_of, live_of

CHEAP = {"field": "price", "lt": 18}
NEEDS_CONTEXT = {"field": "brand", "eq": {"context_item": "brand"}}


@pytest.fixture(scope="module")
def live(trained: Snapshot, encoder: Encoder) -> LiveSnapshot:
    return live_of(trained, encoder)


def asked(scenario: str = "home", history: Sequence[str] = (), **fields: Any) -> Asked:
    state_of = {name: fields.pop(name) for name in ("purchased", "dismissed", "seen") if name in fields}
    at = NOW.timestamp()
    entries = tuple(HistoryEntry(i, "click", at - 60.0 * place, str(place)) for place, i in enumerate(history))
    request = SlateRequest(scenario, **fields)
    wanted = None if request.filter is None else parse_filter(request.filter)
    return Asked(request, READY_MADE[scenario], wanted, None, UserState(entries, **state_of), None, True, NOW, 10)


def mixed() -> list[Asked]:
    """Strangers and regulars, other scenarios, filters, exclusions: what one process is asked in a moment."""
    fish, cook = ["fish-rod-0", "fish-reel-1", "fish-net-2"], ["cook-pan-1", "cook-pot-0"]
    at = NOW.timestamp()
    return [
        asked(),
        asked(history=fish),
        asked(history=fish, purchased={"fish-lure-0": at, "fish-rod-1": at - 86_400}),
        asked(history=cook, dismissed={"cook-knife-0": at}),
        asked("similar", fish, context_items=("fish-rod-0",)),
        asked("cart", cook, context_items=("cook-pan-0", "cook-bowl-1")),
        asked(history=cook, filter=CHEAP),
        asked(history=fish, filter=CHEAP, purchased={"fish-line-0": at}),
        asked(history=fish, exclude_items=frozenset(f"fish-{noun}-{n}" for noun in ("rod", "reel") for n in range(4))),
        asked("email", cook, purchased={"cook-pan-0": at}),
        asked("new_arrivals", cook),
        asked(history=cook, boosts=(), diagnostics=True),
    ]


def test_a_batch_gives_what_each_request_gets_alone(live):
    together = draft_slates(mixed(), live)
    for one, draft in zip(mixed(), together, strict=True):
        alone = draft_slate(one, live)
        assert isinstance(draft, Draft)
        assert ids_of(draft) == ids_of(alone)
        np.testing.assert_allclose([p.score for p in draft.picks], [p.score for p in alone.picks], atol=1e-5)
        assert [p.sources for p in draft.picks] == [p.sources for p in alone.picks]
        assert np.array_equal(draft.admission.allowed_R, alone.admission.allowed_R)
        assert draft.reports == alone.reports
        assert draft.candidates == alone.candidates


def test_a_request_that_cannot_be_answered_fails_alone(live):
    bad = asked(history=["cook-pan-1"], filter=NEEDS_CONTEXT)
    first, failed, last = draft_slates([asked(), bad, asked(history=["fish-rod-0"])], live)
    assert isinstance(failed, Invalid)
    assert failed.code == "filter_context_item_missing"
    assert isinstance(first, Draft)
    assert isinstance(last, Draft)
    assert ids_of(last) == ids_of(draft_slate(asked(history=["fish-rod-0"]), live))


async def test_a_state_that_breaks_a_slate_breaks_nobody_elses(live):
    broken = asked(user_id="ann", purchased={"cook-pan-1": "yesterday"})
    with ThreadPoolExecutor(1) as executor:
        drafting = Drafting(executor)
        first, failed, last = await asyncio.gather(
            *(drafting.draft(one, live) for one in (asked(), broken, asked(history=["fish-rod-0"]))),
            return_exceptions=True,
        )
    assert isinstance(failed, TypeError)
    assert isinstance(first, Draft)
    assert ids_of(last) == ids_of(draft_slate(asked(history=["fish-rod-0"]), live))


async def test_who_comes_alone_is_served_at_once_and_a_crowd_shares(live):
    batches: list[int] = []

    def make(together: Sequence[Asked], of: LiveSnapshot) -> list[Draft | Invalid]:
        batches.append(len(together))
        return draft_slates(together, of)

    with ThreadPoolExecutor(1) as executor:
        drafting = Drafting(executor, make, max_batch=8)
        await drafting.draft(asked(), live)
        assert batches == [1]
        crowd = [asked(user_id=f"u{n}", exclude_items=frozenset({f"fish-rod-{n % 4}"})) for n in range(30)]
        drafts = await asyncio.gather(*(drafting.draft(one, live) for one in crowd))
    assert sum(batches) == 31
    assert max(batches) == 8
    for one, draft in zip(crowd, drafts, strict=True):
        assert draft.asked is one
        assert not set(ids_of(draft)) & one.request.exclude_items


async def test_short_work_is_done_on_the_event_loop_and_long_work_beside_it(live):
    on_loop: list[bool] = []
    takes, ready = 0.0, draft_slates([asked()], live)  # a busy machine makes none that is short for sure

    def make(together: Sequence[Asked], of: LiveSnapshot) -> list[Draft | Invalid]:
        on_loop.append(threading.current_thread() is threading.main_thread())
        time.sleep(takes)
        return ready * len(together)

    with ThreadPoolExecutor(1) as executor:
        drafting = Drafting(executor, make)
        for _ in range(30):
            await drafting.draft(asked(), live)
        assert not on_loop[0]  # nothing is known yet
        assert on_loop[-1]
        takes = 2 * LOOP_SECONDS
        for _ in range(30):
            await drafting.draft(asked(), live)
        assert not on_loop[-1]


async def test_a_batch_waits_for_those_whose_state_is_being_read_but_not_long(live):
    batches: list[int] = []

    def make(together: Sequence[Asked], of: LiveSnapshot) -> list[Draft | Invalid]:
        batches.append(len(together))
        return draft_slates(together, of)

    with ThreadPoolExecutor(1) as executor:
        drafting = Drafting(executor, make)

        async def read_and_draft(read: asyncio.Event) -> Draft:
            with drafting.coming():
                await read.wait()
            return await drafting.draft(asked(), live)

        read, never = asyncio.Event(), asyncio.Event()
        coming = asyncio.create_task(read_and_draft(read))
        first = asyncio.create_task(drafting.draft(asked(), live))
        await asyncio.sleep(0)
        read.set()
        await asyncio.gather(first, coming)
        assert batches == [2]
        away = asyncio.create_task(read_and_draft(never))
        await asyncio.sleep(0)
        await drafting.draft(asked(), live)
        assert batches == [2, 1]
        away.cancel()
        with pytest.raises(asyncio.CancelledError):
            await away
        with drafting.coming():
            pass  # who went away is not waited for any more: what came then is counted right
        assert drafting.num_coming == 0


async def test_a_swap_never_mixes_versions_in_a_batch(live):
    """Requests hold the snapshot they were asked on, also when another one has taken its place meanwhile."""
    other = replace(live)
    seen: list[LiveSnapshot] = []

    def make(together: Sequence[Asked], of: LiveSnapshot) -> list[Draft | Invalid]:
        seen.extend([of] * len(together))
        return draft_slates(together, of)

    with ThreadPoolExecutor(1) as executor:
        drafting = Drafting(executor, make)
        asks = [drafting.draft(asked(), live if n < 5 else other) for n in range(10)]
        drafts = await asyncio.gather(*asks)
    assert [draft.live for draft in drafts] == [live] * 5 + [other] * 5
    assert all(draft.live is (live if n < 5 else other) for n, draft in enumerate(drafts))
    assert len(seen) == 10


@pytest.mark.parametrize("max_batch", [1, 16])
async def test_whoever_goes_away_or_fails_holds_nobody_up(live, max_batch):
    def make(together: Sequence[Asked], of: LiveSnapshot) -> list[Draft | Invalid]:
        if any(one.request.user_id == "breaks" for one in together):
            raise ValueError("a bug")
        return draft_slates(together, of)

    with ThreadPoolExecutor(1) as executor:
        drafting = Drafting(executor, make, max_batch=max_batch)
        gone = asyncio.create_task(drafting.draft(asked(), live))
        broken = asyncio.create_task(drafting.draft(asked(user_id="breaks"), live))
        fine = asyncio.create_task(drafting.draft(asked(), live))
        await asyncio.sleep(0)
        gone.cancel()
        with pytest.raises(ValueError, match="a bug"):
            await broken
        assert ids_of(await fine)
