"""What the rows of `duoscene bench serve` share: the sites, the services on them, the plan."""

from __future__ import annotations

import contextlib
import signal
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from app.benchmarks.cores import Cores
from app.benchmarks.site import Service, Site, open_site, serve, serve_bare
from app.benchmarks.slates import Plan, slate_calls, warm_up
from app.encoding.encoder import Encoder
from app.types import Progress


@dataclass(frozen=True)
class ServeConfig:
    """items, users: of the shop that everything is compared with. sizes: of the larger ones, rising. rows: none given: all. folder:
    for the data; None: the temporary one."""

    items: int = 10_000
    users: int = 1_000
    sizes: tuple[int, ...] = (100_000, 1_000_000)
    rows: tuple[str, ...] = ()
    plan: Plan = field(default_factory=Plan)
    folder: Path | None = None


@contextlib.contextmanager
def stops_in_order() -> Iterator[None]:
    """SIGTERM ends the block as Ctrl-C does, so that no store stays behind. In the main thread."""
    before = signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@dataclass
class Bench:
    """A site is opened at its first use and stays until the end, as does its service."""

    config: ServeConfig
    cores: Cores
    encoder: Encoder
    progress: Progress
    stack: ExitStack
    _sites: dict[int, Site] = field(default_factory=dict)
    _services: dict[int, Service] = field(default_factory=dict)

    @property
    def plan(self) -> Plan:
        return self.config.plan

    @property
    def larger(self) -> int:
        """Items of the first of the larger shops."""
        return self.config.sizes[0]

    def site(self, num_items: int | None = None) -> Site:
        num_items = num_items or self.config.items
        if num_items not in self._sites:
            opened = open_site(
                num_items, self.config.users, self.cores, self.encoder, self.progress, self.config.folder
            )
            self._sites[num_items] = self.stack.enter_context(opened)
        return self._sites[num_items]

    def service(self, site: Site) -> Service:
        """One process on the core of the API, warm: every user was served once. It stays until the end."""
        if site.num_items not in self._services:
            self._services[site.num_items] = self.stack.enter_context(self.fresh_service(site, self.cores))
        return self._services[site.num_items]

    @contextlib.contextmanager
    def fresh_service(self, site: Site, cores: Cores, workers: int = 1) -> Iterator[Service]:
        self.progress(f"start the service ({site.num_items:,} items)", 0.0)
        with serve(site, cores, workers) as service:
            self.progress("warm up", 0.0)
            warm_up(site, service, slate_calls(site))
            yield service

    @contextlib.contextmanager
    def bare(self, site: Site, service: Service) -> Iterator[Service]:
        """The bare route with the bytes of a slate of the service."""
        body = warm_up(site, service, slate_calls(site)[:1])
        with serve_bare(body, self.cores, site.settings.data_dir) as bare:
            yield bare
