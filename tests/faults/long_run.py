"""What `scripts/faults` runs: the harness for minutes, with its counts. Exit code 1 if anything was lost or wrong."""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
from pathlib import Path

from tests.faults.harness import run
from tests.faults.shop import prepare
from tests.faults.site import open_site


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/faults", description=__doc__)
    parser.add_argument("--seconds", type=float, default=300.0)
    parser.add_argument("--api", type=int, default=2, help="API processes behind one socket")
    parser.add_argument("--seed", type=int, default=random.randrange(1_000_000))
    options = parser.parse_args()
    with open_site(Path(tempfile.mkdtemp(prefix="duoscene-faults-")), num_api=options.api) as site:
        prepare(site.database_url, site.folder)
        for place in range(site.num_api):
            site.start_api(place)
        site.start_worker()
        site.wait_ready()
        print(
            f"breaking things for {options.seconds:.0f} s, seed {options.seed}, {options.api} API processes", flush=True
        )
        verdict = run(site, options.seconds, options.seed)
        print(verdict)
        try:
            verdict.check()
        except AssertionError as error:
            print(f"FAILED: {error}", file=sys.stderr)
            return 1
    print("Nothing was lost.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
