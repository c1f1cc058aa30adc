"""A history that comes again is folded from what was noted beside it, and the notes go with the catalogue they are of."""

from __future__ import annotations

import gc
import weakref
from dataclasses import replace

import numpy as np

from app.catalogue.item import Item, ItemChanges
from app.encoding.encoder import Encoder
from app.features.users import UserBatch
from app.feedback.state import History, HistoryEntry, UserState
from app.retrieval.snapshot import Snapshot
from app.scenarios.defaults import READY_MADE
from app.serving.live import LiveSnapshot, ServingState
from app.serving.retrieve import fold
from app.serving.slate import SlateRequest
from tests.integration.serving.conftest import NOW
from tests.integration.serving.slates import asked_of

HOME = READY_MADE["home"]
NEW = Item("fresh", "sturdy fishing rod with a carbon tip", "A rod for anglers.", ("Fishing",), created_at=NOW)


def past(*item_ids: str) -> tuple[HistoryEntry, ...]:
    kinds = ("click", "purchase", "unheard-of")
    return tuple(
        HistoryEntry(i, kinds[n % 3], NOW.timestamp() - 60.0 * (9 - n), str(n)) for n, i in enumerate(item_ids)
    )


def folded(live: LiveSnapshot, *histories: tuple[HistoryEntry, ...], context: tuple[str, ...] = ()) -> UserBatch:
    request = SlateRequest("home", context_items=context)
    asked = [asked_of(HOME, request, UserState(history)) for history in histories]
    assert live.model
    return fold(asked, live, live.model, [HOME] * len(asked))


def is_same(one: UserBatch, other: UserBatch) -> bool:
    names = ("history_BL", "kinds_BL", "ages_BL")
    return all(np.array_equal(getattr(one, name), getattr(other, name)) for name in names)


async def test_notes_give_what_the_entries_give_and_follow_the_catalogue(trained: Snapshot, encoder: Encoder) -> None:
    serving = ServingState.with_model(encoder, trained, [*READY_MADE.values()], {})
    plain = [past("fish-rod-0", "unknown", "fish-reel-1"), (), past("fresh", "cook-pan-1"), past("unknown")]
    held = [History(history) for history in plain]
    before = serving.current
    for context in ((), ("cook-pot-0", "unknown")):
        for _ in range(2):
            assert is_same(folded(before, *held, context=context), folded(before, *plain, context=context))
            for history, entries in zip(held, plain, strict=True):
                assert is_same(folded(before, history, context=context), folded(before, entries, context=context))
    rows_before = folded(before, *held).history_BL.copy()
    rod = serving.current.catalogue.item("fish-rod-0")
    assert rod
    await serving.apply(ItemChanges(before.catalogue.revision + 1, (NEW, replace(rod, title="A spoon"))))
    while await serving.embed():
        pass
    after = serving.current
    assert is_same(folded(after, *held), folded(after, *plain))
    assert not np.array_equal(folded(after, *held).history_BL, rows_before)
    assert is_same(folded(before, *held), folded(before, *plain)), (
        "a request that began before is still of its snapshot"
    )
    assert held == plain


async def test_notes_keep_no_catalogue(trained: Snapshot, encoder: Encoder) -> None:
    serving = ServingState.with_model(encoder, trained, [*READY_MADE.values()], {})
    history = History(past("fish-rod-0"))
    folded(serving.current, history)
    gone = weakref.ref(serving.current)
    del serving
    gc.collect()
    assert gone() is None
