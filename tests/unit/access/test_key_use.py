"""Last uses are written in groups, and kept while the store is away."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from app.access.key_ring import key_of_settings
from app.access.key_use import KeyUse
from app.access.keys import ApiKey
from app.errors import Unavailable
from app.types import utc_now

KEY = ApiKey("k1", "shop", frozenset({"recommend"}), "digest", utc_now())


@dataclass
class Uses:
    is_away: bool = False
    written: list[Mapping[str, datetime]] = field(default_factory=list)

    async def note_uses(self, used_at: Mapping[str, datetime]) -> None:
        if self.is_away:
            raise Unavailable("gone")
        self.written.append(used_at)


async def test_many_uses_are_one_write() -> None:
    store = Uses()
    use = KeyUse(store)  # type: ignore[arg-type]
    for _ in range(1_000):
        use.note(KEY)
    use.note(key_of_settings("a-long-admin-key", ""))
    await use.write()
    (written,) = store.written
    assert list(written) == ["k1"]


async def test_uses_wait_for_the_store() -> None:
    store = Uses(is_away=True)
    use = KeyUse(store)  # type: ignore[arg-type]
    use.note(KEY)
    await use.write()
    store.is_away = False
    await use.write()
    assert [list(written) for written in store.written] == [["k1"]]


async def test_closing_writes_what_waits() -> None:
    store = Uses()
    use = KeyUse(store)  # type: ignore[arg-type]
    await use.start()
    use.note(KEY)
    await use.close()
    assert len(store.written) == 1
