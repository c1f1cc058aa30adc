"""Slates without servers: the pipeline itself, over the snapshot that `trained` made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from app.encoding.encoder import Encoder
from app.feedback.state import Exposure, UserState
from app.retrieval.filters import parse_filter
from app.retrieval.snapshot import Snapshot
from app.scenarios.defaults import READY_MADE
from app.scenarios.scenario import Scenario
from app.serving.live import LiveSnapshot, ServingState
from app.serving.pipeline import Draft, complete_slate, draft_slate
from app.serving.rules import Asked
from app.serving.slate import SlateRequest
from tests.integration.serving.conftest import NOW


def live_of(trained: Snapshot, encoder: Encoder) -> LiveSnapshot:
    return ServingState.with_model(encoder, trained, [*READY_MADE.values()], {}).current


def asked_of(
    scenario: Scenario, request: SlateRequest | None = None, state: UserState | None = None, *, personal: bool = True, now: datetime = NOW
) -> Asked:  # fmt: skip
    request = request or SlateRequest(scenario.name)
    filters = [None if spec is None else parse_filter(spec) for spec in (request.filter, scenario.filter)]
    return Asked(request, scenario, *filters, state or UserState(), None, personal, now, request.n or scenario.n)


def draft_of(
    live: LiveSnapshot, scenario: Scenario, request: SlateRequest | None = None, state: UserState | None = None,
    *, personal: bool = True, now: datetime = NOW, trending: Sequence[str] = (), shown: Mapping[str, Exposure] | None = None,
) -> Draft:  # fmt: skip
    """What the recommender does, without its fetching."""
    draft = draft_slate(asked_of(scenario, request, state, personal=personal, now=now), live)
    if draft.is_open:
        complete_slate(draft, trending, READY_MADE.get, shown)
    return draft


def ids_of(draft: Draft) -> list[str]:
    return [draft.live.catalogue.id_at(pick.row) for pick in draft.picks]
