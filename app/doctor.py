"""`duoscene doctor`: is everything there that the service needs, and what to do about what is not.

`--consistency`: does the live state in Redis say what the events in PostgreSQL say.
"""

from __future__ import annotations

import asyncio
import re
import shutil
from dataclasses import dataclass
from urllib.parse import urlsplit

from rich.markup import escape
from rich.table import Table

from app.console import console
from app.errors import BadArtifact, BadSettings, DuosceneError, Unavailable
from app.retrieval.snapshot import Snapshot
from app.settings import PREFIX, Settings
from app.wiring.encoding import artifacts_of
from app.wiring.live_state import Comparison, compare, open_live_state
from app.wiring.servers import use_servers
from app.wiring.stores import Stores, open_stores

MIN_FREE_BYTES = 2 << 30
BELIEVE_SECONDS = 15.0
HIDDEN = "***"


@dataclass(frozen=True, slots=True)
class Finding:
    """advice: what to do; empty when all is well. is_broken: the service cannot work like this."""

    what: str
    found: str
    advice: str = ""
    is_broken: bool = False


def examine(settings: Settings) -> bool:
    """Print every finding. False if something is broken."""
    findings = [check_disk(settings), *check_servers(settings)]
    table = Table("", "what", "found", "what to do")
    for finding in findings:
        mark = "[red]✗[/]" if finding.is_broken else "[yellow]![/]" if finding.advice else "[green]✓[/]"
        table.add_row(mark, finding.what, escape(finding.found), escape(finding.advice))
    console.print(table)
    return not any(finding.is_broken for finding in findings)


def examine_consistency(settings: Settings) -> bool:
    """Compare both stores, repair what differs, say it. False if something differed or could not be compared."""
    with use_servers(settings) as servers:
        found = asyncio.run(compare_stores(servers.settings))
    if found is None:
        console.print("Redis does not answer or is being rebuilt; try again later")
        return False
    console.print(f"{found.states:,} states compared, {found.num_wrong:,} wrong, {found.busy:,} too busy to compare")
    for name in found.wrong:
        console.print(f"  wrong: {name}", markup=False)
    trends = "written meanwhile, not compared" if found.trends is None else f"{found.trends:,} wrong"
    console.print(f"trends: {found.buckets:,} buckets, {trends}")
    if found.repaired:
        console.print(f"{found.repaired:,} repaired: they are derived anew from PostgreSQL")
    return found.is_equal


async def compare_stores(settings: Settings) -> Comparison | None:
    """None: Redis cannot be believed within BELIEVE_SECONDS."""
    async with open_stores(settings) as stores, open_live_state(settings, stores) as live_state:
        for _ in range(round(BELIEVE_SECONDS / 0.1)):
            if not (await live_state.read("", None)).degraded:
                found = await compare(live_state, repair=True)
                await live_state.settle()
                return found
            await asyncio.sleep(0.1)
    return None


def check_disk(settings: Settings) -> Finding:
    folder = settings.data_dir.resolve()
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    advice = "" if free >= MIN_FREE_BYTES else f"free at least {MIN_FREE_BYTES >> 30} GiB, or set {PREFIX}DATA_DIR"
    return Finding("disk", f"{free / (1 << 30):.1f} GiB free for {settings.data_dir}", advice)


def check_servers(settings: Settings) -> list[Finding]:
    try:
        with use_servers(settings) as servers:
            return asyncio.run(check_contents(servers.settings))
    except DuosceneError as error:
        return [
            Finding("PostgreSQL and Redis", error.detail, f"check {PREFIX}DATABASE_URL and {PREFIX}REDIS_URL", True)
        ]


async def check_contents(settings: Settings) -> list[Finding]:
    async with open_stores(settings) as stores:
        return [
            Finding("PostgreSQL", "answers, schema is current"),
            await check_redis(settings, stores),
            await check_data(stores),
            await check_model(stores, settings),
            await check_keys(stores, settings),
        ]


async def check_redis(settings: Settings, stores: Stores) -> Finding:
    async with open_live_state(settings, stores) as live_state:
        if await live_state.is_reachable():
            return Finding("Redis", "answers")
    return Finding("Redis", "does not answer: slates go on without recent events", f"check {PREFIX}REDIS_URL")


async def check_data(stores: Stores) -> Finding:
    counts = await stores.shop_data.counts()
    found = ", ".join(f"{count:,} {name}" for name, count in counts.items())
    return Finding("data", found, "" if counts["items"] else "import some: duoscene import PATH")


async def check_model(stores: Stores, settings: Settings) -> Finding:
    live = await stores.versions.live()
    if live is None:
        return Finding("model", "none is live: slates are popular and new items", "train one: duoscene train")
    try:
        directory = await asyncio.to_thread(artifacts_of(settings).fetch, live.version)
        snapshot = await asyncio.to_thread(Snapshot.load, directory)
    except BadArtifact as error:
        return Finding("model", error.detail, "roll back or train again: duoscene train", True)
    except (BadSettings, Unavailable) as error:
        return Finding("artifact store", error.detail, f"check {PREFIX}ARTIFACT_URL", True)
    return Finding("model", f"{live.version}, {len(snapshot.item_ids):,} items, index and checksums are sound")


async def check_keys(stores: Stores, settings: Settings) -> Finding:
    live = [key for key in await stores.keys.all() if key.revoked_at is None]
    is_open = settings.admin_key is not None or any("admin" in key.scopes for key in live)
    return Finding(
        "API keys", f"{len(live)} in use", "" if is_open else "make one: duoscene keys create --scopes admin"
    )


def list_settings(settings: Settings) -> None:
    table = Table("variable", "value", "default", "meaning")
    for name, field in type(settings).model_fields.items():
        default = "" if field.default_factory or field.default is None else str(field.default)
        value = "" if (set_to := getattr(settings, name)) is None else str(set_to)
        value = hide_password(value) if name.endswith("_url") else value
        table.add_row(PREFIX + name.upper(), escape(value), escape(default), escape(field.description or ""))
    console.print(table)


def hide_password(url: str) -> str:
    """Also of the query; all of it where a password could stand anywhere, because it is not written as urls are."""
    try:
        parts = urlsplit(url)
        _ = parts.port  # raises for what is no number
    except ValueError:
        return HIDDEN
    if "@" in parts.path + parts.query + parts.fragment or (not parts.netloc and "=" in url):
        return HIDDEN
    login, at, host = parts.netloc.rpartition("@")
    user, colon, _ = login.partition(":")
    query = re.sub(r"(?i)(\w*(?:password|secret|token|key)\w*=)[^&]*", rf"\1{HIDDEN}", parts.query)
    return parts._replace(netloc=f"{user}{colon}{HIDDEN if colon else ''}{at}{host}", query=query).geturl()
