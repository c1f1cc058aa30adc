"""What the worker does for the privacy of shoppers."""

from __future__ import annotations

from functools import partial

from app.privacy.retention import BATCH_ROWS, retention_tasks
from app.privacy.upkeep import Task, Upkeep
from app.settings import Settings
from app.wiring.stores import Stores

ROTATED = 200  # texts a batch


def make_upkeep(settings: Settings, stores: Stores) -> Upkeep:
    rotation = [
        Task("profile texts were brought under the newest key", partial(stores.catalogue.rotate_texts, ROTATED))
    ]
    return Upkeep(
        [
            *retention_tasks(stores.retention, settings.event_retention_days, settings.impression_retention_days),
            Task("notes of erasures were dropped", partial(stores.erasure.tidy, BATCH_ROWS)),
            Task("vectors of texts out of use were dropped", partial(stores.erasure.drop_unused_vectors, BATCH_ROWS)),
            *(rotation if stores.cipher.newest else ()),
        ]
    )
