"""From a path to shop data: choose the reader, read, clean."""

from __future__ import annotations

from pathlib import Path

from app.catalogue.readers.duoscene import read_duoscene
from app.catalogue.readers.raw_shop import RawShop
from app.catalogue.shop_data import ShopData
from app.types import Progress, no_progress


def read_raw(path: Path, progress: Progress = no_progress) -> RawShop:
    return read_duoscene(path, progress)


def read_shop_data(path: Path, progress: Progress = no_progress) -> ShopData:
    """As the files have it, not cleaned: events in file order, times may be null. Raises BadData."""
    return read_raw(path, progress).data
