"""Where the stores are, once somebody has started those that the settings leave open."""

from __future__ import annotations

from app.errors import BadSettings
from app.settings import Settings


def database_url_of(settings: Settings) -> str:
    if not settings.database_url:
        raise BadSettings(
            "DUOSCENE_DATABASE_URL is empty here; `duoscene up` and `duoscene serve` start a database themselves"
        )
    return settings.database_url


def redis_url_of(settings: Settings) -> str:
    if not settings.redis_url:
        raise BadSettings(
            "DUOSCENE_REDIS_URL is empty here; `duoscene up` and `duoscene serve` start a Redis themselves"
        )
    return settings.redis_url
