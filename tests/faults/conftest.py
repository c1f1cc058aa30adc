"""One service with two trained versions for all tests here that need a model: training takes some ten seconds."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.shop import prepare
from tests.faults.site import Site, open_site


@pytest.fixture(scope="session")
def trained_site() -> Iterator[Site]:
    """For two API processes and a worker, none of which runs yet; version v1 is live."""
    with open_site(Path(tempfile.mkdtemp(prefix="duoscene-faults-")), num_api=2) as site:
        prepare(site.database_url, site.folder)
        yield site
