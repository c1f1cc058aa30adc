"""What shoppers may ask of those who keep their data, as callers see it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Literal

from pydantic import ConfigDict, Field

from app.api.schemas import fields
from app.api.schemas.fields import View
from app.api.schemas.users import HANNAH, UserView
from app.feedback.state import HistoryEntry, UserState
from app.privacy.erasure import Erasure
from app.privacy.exporting import HeldEvent, Holdings
from app.privacy.memory import window_of
from app.privacy.taste import Interest, Taste


class ErasedView(View):
    profile: bool = Field(description="There was a description")
    events: int
    live_states: int = Field(description="The user's own, and of each session in which the user was recognised")
    text_vectors: int = Field(description="Vectors of the profile's and queries' words, kept beside the texts")


class PseudonymisedView(View):
    impressions: int = Field(description="Kept under a random alias, without session and context")


class RememberedView(View):
    version: str
    data_from: datetime | None = Field(description="Oldest event the model was trained on")
    data_until: datetime | None
    events: int = Field(description="The model was trained on at most so many events of the user")
    until: str = Field(description="When it is forgotten")


class ErasureView(View):
    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "user_id": "u1",
                    "erased_at": "2026-02-01T09:30:00Z",
                    "erased": {"profile": True, "events": 57, "live_states": 3, "text_vectors": 1},
                    "pseudonymised": {"impressions": 12},
                    "live_model": {
                        "version": "2026-01-31T12-00-00Z-ab12",
                        "data_from": "2025-06-01T08:00:00Z",
                        "data_until": "2026-01-31T11:58:20Z",
                        "events": 51,
                        "until": "the next full retrain that starts after 2026-02-01T09:30:00Z",
                    },
                    "pending": [],
                }
            ]
        }
    )

    user_id: str
    erased_at: datetime
    erased: ErasedView
    pseudonymised: PseudonymisedView
    live_model: RememberedView | None = Field(description="What a trained model still knows; null: no model is live")
    pending: list[str] = Field(description="live_state: Redis went away just then; it is finished when it is back")

    @classmethod
    def of(cls, user_id: str, erasure: Erasure) -> ErasureView:
        return cls(
            user_id=user_id,
            erased_at=erasure.erased_at,
            erased=ErasedView(
                profile=erasure.profile,
                events=erasure.events,
                live_states=1 + erasure.sessions,
                text_vectors=erasure.text_vectors,
            ),
            pseudonymised=PseudonymisedView(impressions=erasure.impressions),
            live_model=None if erasure.live_model is None else RememberedView.model_validate(erasure.live_model),
            pending=list(erasure.pending),
        )


class TasteQuery(fields.Query):
    limit: int = Field(20, ge=1, le=100, description="Interests at most")


class PastEventView(View):
    event_id: str
    type: str = Field(description="As taste: a low rating is a dislike")
    item_id: str
    occurred_at: datetime

    @classmethod
    def values_of(cls, entry: HistoryEntry) -> dict[str, Any]:
        at = datetime.fromtimestamp(entry.occurred_at, UTC)
        return {"event_id": entry.event_id, "type": entry.type, "item_id": entry.item_id, "occurred_at": at}


class EvidenceView(PastEventView):
    title: str | None
    weight: float = Field(description="Share of this interest, 0-1")


class InterestView(View):
    kind: Literal["category", "brand", "tag"]
    value: str = Field(description="A category as its whole path")
    weight: float = Field(description="Share of what was done lately, 0-1; kinds overlap, so they do not add up to 1")
    num_events: int
    events: list[EvidenceView] = Field(description="Behind it, the weightiest first, at most 10")

    @classmethod
    def of(cls, interest: Interest) -> InterestView:
        behind = [
            EvidenceView(**PastEventView.values_of(one.event), title=one.title, weight=round(one.weight, 6))
            for one in interest.events
        ]
        return cls(
            kind=interest.kind, value=interest.value, weight=round(interest.weight, 6), num_events=interest.num_events, events=behind
        )  # fmt: skip


PAST: dict[str, Any] = {
    "event_id": "click-4711",
    "type": "click",
    "item_id": "sku-1",
    "occurred_at": "2026-01-31T12:04:00Z",
}
BAKING: dict[str, Any] = {
    "kind": "category", "value": "Kitchen > Baking", "weight": 0.62, "num_events": 1,
    "events": [{**PAST, "title": "Cast-iron bread pan", "weight": 1.0}],
}  # fmt: skip


class TasteView(View):
    model_config = ConfigDict(
        json_schema_extra={"examples": [{"user_id": "u1", "interests": [BAKING], "personalize": True, "degraded": []}]}
    )

    user_id: str
    interests: list[InterestView] = Field(description="The strongest first")
    personalize: bool = Field(
        description="false: the user does not agree to personal slates, and none of this is acted on"
    )
    degraded: list[str] = Field(description="user_state: the live state is away, so something may be missing")

    @classmethod
    def of(cls, user_id: str, taste: Taste) -> TasteView:
        return cls(
            user_id=user_id,
            interests=[InterestView.of(interest) for interest in taste.interests],
            personalize=taste.personal,
            degraded=list(taste.degraded),
        )


class HeldEventView(View):
    event_id: str
    type: str
    item_id: str
    user_id: str | None = Field(description="null: the session did it before the user was recognised")
    session_id: str | None
    scenario: str | None
    recommendation_id: str | None
    position: int | None
    value: float | None
    quantity: float | None
    currency: str | None
    order_id: str | None
    occurred_at: datetime
    context: dict[str, Any]
    received_at: datetime
    retracted_at: datetime | None = Field(description="When it was taken back")
    in_live_model: bool = Field(description="The live model may have been trained on it")

    @classmethod
    def of(cls, held: HeldEvent, in_live_model: bool) -> HeldEventView:
        names = [
            name for name in cls.model_fields if name not in ("context", "received_at", "retracted_at", "in_live_model")
        ]
        return cls(
            **{name: getattr(held.event, name) for name in names},
            context=dict(held.event.context),
            received_at=held.received_at,
            retracted_at=held.retracted_at,
            in_live_model=in_live_model,
        )


class HeldImpressionView(View):
    recommendation_id: str
    scenario: str
    model_version: str
    variant: str | None
    session_id: str | None
    shown_at: datetime
    item_ids: tuple[str, ...]
    scores: tuple[float, ...]
    propensities: tuple[float, ...]
    context: dict[str, Any]


class LiveStateView(View):
    history: list[PastEventView] = Field(description="Newest last, at most 100")
    purchased: dict[str, datetime] = Field(description="Item: last purchase")
    seen: dict[str, float] = Field(description="Item: how often it was shown, faded by age")
    dismissed: dict[str, datetime] = Field(description="Item: when it was disliked")

    @classmethod
    def of(cls, state: UserState) -> LiveStateView:
        return cls(
            history=[PastEventView(**PastEventView.values_of(entry)) for entry in state.history],
            purchased=times_of(state.purchased),
            seen={item_id: round(times, 4) for item_id, times in state.seen.items()},
            dismissed=times_of(state.dismissed),
        )


def times_of(figures: Mapping[str, float]) -> dict[str, datetime]:
    return {item_id: datetime.fromtimestamp(at, UTC) for item_id, at in figures.items()}


class TrainedOnView(View):
    version: str
    data_from: datetime | None
    data_until: datetime | None
    events: int = Field(description="At most so many of these events; see `in_live_model` of each")


class ExportView(View):
    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "user_id": "u1",
                    "exported_at": "2026-02-01T09:30:00Z",
                    "profile": {"user_id": "u1", **HANNAH, "created_at": "2026-01-31T12:00:03Z"},
                    "events": [
                        {
                            **PAST, "user_id": "u1", "session_id": "s1", "scenario": "home", "recommendation_id": None, "position": 1,
                            "value": None, "quantity": None, "currency": None, "order_id": None, "context": {},
                            "received_at": "2026-01-31T12:04:00Z", "retracted_at": None, "in_live_model": False,
                        }
                    ],
                    "refused_events": [],
                    "impressions": [
                        {
                            "recommendation_id": "01JJX2M8Z6Q5T0V4W9Y1B3C7D2", "scenario": "home",
                            "model_version": "2026-01-31T12-00-00Z-ab12", "variant": None, "session_id": "s1",
                            "shown_at": "2026-01-31T12:03:00Z", "item_ids": ["sku-1"], "scores": [0.83], "propensities": [1.0],
                            "context": {},
                        }
                    ],
                    "live_state": {"history": [PAST], "purchased": {}, "seen": {"sku-2": 0.98}, "dismissed": {}},
                    "taste": [BAKING],
                    "text_vectors": 1,
                    "live_model": {
                        "version": "2026-01-31T12-00-00Z-ab12", "data_from": "2025-06-01T08:00:00Z",
                        "data_until": "2026-01-31T11:58:20Z", "events": 0,
                    },
                }
            ]
        }
    )  # fmt: skip

    user_id: str
    exported_at: datetime
    profile: UserView | None
    events: list[HeldEventView] = Field(description="Oldest first")
    refused_events: list[dict[str, Any]] = Field(
        description="Accepted while the database was away, refused by it later"
    )
    impressions: list[HeldImpressionView] = Field(description="Oldest first")
    live_state: LiveStateView
    taste: list[InterestView]
    text_vectors: int = Field(description="Vectors of the words of profile and queries that are kept beside the texts")
    live_model: TrainedOnView | None

    @classmethod
    def of(cls, user_id: str, holdings: Holdings) -> ExportView:
        rows, model = holdings.rows, holdings.live_model
        since, until = window_of(model)
        return cls(
            user_id=user_id,
            exported_at=holdings.exported_at,
            profile=None if rows.profile is None else UserView.model_validate(rows.profile),
            events=[HeldEventView.of(held, held.event.event_id in holdings.learned) for held in rows.events],
            refused_events=[dict(event) for event in holdings.refused],
            impressions=[HeldImpressionView.model_validate(shown) for shown in rows.impressions],
            live_state=LiveStateView.of(holdings.state),
            taste=[InterestView.of(interest) for interest in holdings.taste.interests],
            text_vectors=rows.text_vectors,
            live_model=None if model is None else TrainedOnView(
                version=model.version, data_from=since, data_until=until, events=len(holdings.learned)
            ),
        )  # fmt: skip
