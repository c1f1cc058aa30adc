"""The fault harness for some seconds; `scripts/faults` runs it for minutes."""

from __future__ import annotations

import random

from tests.faults.harness import run
from tests.faults.site import Site

SECONDS = 12.0


def test_nothing_acknowledged_is_lost_and_every_slate_is_whole(trained_site: Site) -> None:
    seed = random.randrange(1_000_000)
    for place in range(trained_site.num_api):
        trained_site.start_api(place)
    trained_site.start_worker()
    trained_site.wait_ready()
    verdict = run(trained_site, SECONDS, seed)
    print(f"\nseed {seed}\n{verdict}")
    verdict.check()
