"""What counts as a trend, for the live counts in Redis and for training, which replays them: event weight per item in hourly
buckets of the last day, each worth half of what one six hours newer is."""

from __future__ import annotations

HOURS = 24
HALF_LIFE_HOURS = 6.0


def worth(age_hours: float) -> float:
    """Of a bucket so many whole hours before the present one."""
    return float(0.5 ** (age_hours / HALF_LIFE_HOURS))
