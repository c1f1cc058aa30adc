"""What shoppers may ask of those who keep their data, as callers see it."""

from __future__ import annotations

from datetime import datetime

from pydantic import ConfigDict, Field

from app.api.schemas.fields import View
from app.privacy.erasure import Erasure


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
