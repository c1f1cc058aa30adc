"""What the worker does for the privacy of shoppers."""

from __future__ import annotations

from app.privacy.retention import retention_tasks
from app.privacy.upkeep import Upkeep
from app.settings import Settings
from app.wiring.stores import Stores


def make_upkeep(settings: Settings, stores: Stores) -> Upkeep:
    return Upkeep(retention_tasks(stores.retention, settings.event_retention_days, settings.impression_retention_days))
