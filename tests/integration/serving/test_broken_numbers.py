"""Vectors and statistics that are not numbers never reach a client: slates stay whole, finite and within the rules."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict, replace

import numpy as np
import pytest

from app.encoding.encoder import Encoder
from app.feedback.state import Exposure, HistoryEntry, UserState
from app.language.interpret import Interpretation
from app.retrieval.snapshot import Snapshot
from app.retrieval.sources import Fitted
from app.scenarios.defaults import READY_MADE
from app.scenarios.scenario import Boost, Caps, Promotion, Rotation, Scenario
from app.serving.live import LiveSnapshot
from app.serving.pipeline import complete_slate, draft_slate, explain_slate
from app.serving.queries import AskedWords
from app.serving.recommender import make_slate
from app.serving.slate import Slate, SlateRequest
from tests.integration.serving.conftest import NOW, make_items
from tests.integration.serving.slates import asked_of, live_of

COOK = {"field": "category", "contains": "Kitchen"}
EVERY_RULE = Scenario(
    "home", "Home.", READY_MADE["email"].sources, n=12, diversity=0.4, calibration=0.3, caps=Caps(brand=5), exploration=0.2,
    rotation=Rotation(0.2, 60), freshness_half_life_days=30.0, boosts=(Boost(COOK, 3.0),), page_promotions=(Promotion(COOK, 0.3),),
)  # fmt: skip
PLAIN = replace(READY_MADE["home"], n=12)
DID = UserState(
    history=tuple(HistoryEntry(f"fish-{n}-1", "click", NOW.timestamp() - 60, n) for n in ("rod", "reel", "lure")),
    dismissed={"fish-net-0": NOW.timestamp()},
)
BROKEN = (math.nan, math.inf, -math.inf)


def spoilt(array: np.ndarray, value: float, every: int) -> np.ndarray:
    """With each so-manieth number replaced."""
    out = np.array(array, copy=True)
    out.reshape(-1)[::every] = value
    return out


def spoilt_snapshots(trained: Snapshot, value: float) -> Iterator[tuple[str, Snapshot]]:
    """One part after the other broken, a few items or all of them."""
    for every in (1, 997):
        yield f"item vectors {every}", replace(trained, vectors_ND=spoilt(trained.vectors_ND, value, every))
    for name, fitted in trained.fitted.items():
        for key, array in fitted.arrays.items():
            if array.dtype.kind == "f":
                arrays = {**fitted.arrays, key: spoilt(array, value, 7)}
                broken = {**trained.fitted, name: Fitted(fitted.parameters, arrays)}
                yield f"{name} {key}", replace(trained, fitted=broken)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("value", BROKEN)
@pytest.mark.parametrize("scenario", [PLAIN, EVERY_RULE], ids=["plain", "every rule"])
def test_a_broken_model_still_gives_whole_slates(
    trained: Snapshot, encoder: Encoder, value: float, scenario: Scenario
) -> None:
    for part, snapshot in spoilt_snapshots(trained, value):
        check_slate(live_of(snapshot, encoder), scenario, part)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("value", BROKEN)
def test_broken_vectors_of_a_request_are_no_harm(trained: Snapshot, encoder: Encoder, value: float) -> None:
    live, bad_T = live_of(trained, encoder), np.full(trained.manifest.text_dim, value, np.float32)
    words = AskedWords(Interpretation("fishing"), None, bad_T, bad_T[None])
    for scenario in (PLAIN, EVERY_RULE):
        check_slate(live, scenario, "words", words=words)
        check_slate(live, scenario, "profile", profile_T=bad_T)


def check_slate(live: LiveSnapshot, scenario: Scenario, part: str, **more: object) -> None:
    request = SlateRequest(scenario.name, user_id="anna", reasons=True, diagnostics=True)
    asked = replace(asked_of(scenario, request, DID), **more)  # type: ignore[arg-type]
    draft = draft_slate(asked, live)
    if draft.is_open:
        complete_slate(draft, [], READY_MADE.get, {"cook-pan-0": Exposure(40.0, 3.0)})
    explain_slate(draft)
    slate = make_slate(draft, ())
    shown = [item.item_id for item in slate.items]
    assert len(shown) == len(set(shown)) == 12, part
    assert set(shown) <= {item.item_id for item in make_items()} - {"fish-net-0"}, part
    assert_finite(slate, part)


def assert_finite(slate: Slate, part: str) -> None:
    """Looked at before they are written: orjson makes null of what is no number."""
    assert slate.diagnostics
    told = asdict(slate)
    assert not [where for where, number in numbers_in(told) if not math.isfinite(number)], part


def numbers_in(value: object, where: str = "") -> Iterator[tuple[str, float]]:
    if isinstance(value, float):
        yield where, value
    elif isinstance(value, dict):
        for name, inner in value.items():
            yield from numbers_in(inner, f"{where}.{name}")
    elif isinstance(value, list | tuple):
        for place, inner in enumerate(value):
            yield from numbers_in(inner, f"{where}.{place}")
