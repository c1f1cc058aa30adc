"""What a trained model may remember."""

from __future__ import annotations

from datetime import datetime

from app.release.version import ModelVersion


def is_learned(version: ModelVersion | None, occurred_at: datetime, received_at: datetime) -> bool:
    """Whether this version may have been trained on such an event: it lies in the version's window and was there in time."""
    _, until = window_of(version)
    return version is not None and until is not None and occurred_at <= until and received_at <= version.created_at


def window_of(version: ModelVersion | None) -> tuple[datetime | None, datetime | None]:
    """Times of the oldest and the newest event that it was trained on."""
    data = version.data if version is not None else {}
    since, until = (datetime.fromisoformat(str(data[name])) if data.get(name) else None for name in ("from", "until"))
    return since, until
