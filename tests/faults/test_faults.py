"""The fault harness for some seconds; `scripts/faults` runs it for minutes."""

from __future__ import annotations

import random
import tempfile
from pathlib import Path

from tests.faults.harness import run
from tests.faults.shop import prepare
from tests.faults.site import open_site

SECONDS = 12.0


def test_nothing_acknowledged_is_lost_and_every_slate_is_whole() -> None:
    seed = random.randrange(1_000_000)
    with open_site(Path(tempfile.mkdtemp(prefix="duoscene-faults-")), num_api=2) as site:
        prepare(site.database_url, site.folder)
        for place in range(site.num_api):
            site.start_api(place)
        site.start_worker()
        site.wait_ready()
        verdict = run(site, SECONDS, seed)
        print(f"\nseed {seed}\n{verdict}")
        verdict.check()
