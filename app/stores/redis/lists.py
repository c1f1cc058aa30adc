"""`PageStore` over Redis: what the slates of a list showed, until LIFE_SECONDS after the last of them.

One hash for each list: `i<page>` its item ids, `s<page>` the slate itself, so that a repeated cursor gets it again.
"""

from __future__ import annotations

from collections.abc import Sequence

import orjson

from app.serving.paging.lists import LIFE_SECONDS, StoredPages
from app.stores.redis.client import FAILURES, Server

TIMEOUT_SECONDS = 0.2
MARGIN_SECONDS = 60  # a cursor is given a moment after its slate was kept

# KEYS list; ARGV ttl, page, slate, its item ids, those shown before. Earlier pages that are unknown here are filled: the first
# of them with all that was shown before, the others with nothing.
KEEP = """
local page = tonumber(ARGV[2])
if redis.call('HSETNX', KEYS[1], 's' .. page, ARGV[3]) == 1 then
  redis.call('HSET', KEYS[1], 'i' .. page, ARGV[4])
  local before = ARGV[5]
  for earlier = 0, before == '[]' and -1 or page - 1 do
    if redis.call('HSETNX', KEYS[1], 'i' .. earlier, before) == 1 then before = '[]' end
  end
end
redis.call('EXPIRE', KEYS[1], ARGV[1])
return redis.call('HGET', KEYS[1], 's' .. page)
"""


class RedisLists:
    def __init__(self, redis_url: str, prefix: str = "duoscene") -> None:
        self._server = Server(redis_url, timeout_seconds=TIMEOUT_SECONDS)
        self._prefix = prefix

    async def close(self) -> None:
        await self._server.close()

    async def read(self, list_id: str, page: int) -> StoredPages | None:
        if not self._server.may_be_asked():
            return None
        names = [*(f"i{earlier}" for earlier in range(page)), f"s{page}"]
        try:
            *item_ids, slate = await self._server.client.hmget(self._key(list_id), names)
        except FAILURES as error:
            self._server.rest(f"a list: {type(error).__name__} {error}")
            return None
        return StoredPages([None if ids is None else orjson.loads(ids) for ids in item_ids], slate)

    async def keep(
        self, list_id: str, page: int, slate: bytes, item_ids: Sequence[str], before: Sequence[str]
    ) -> bytes | None:
        if not self._server.may_be_asked():
            return None
        arguments = (LIFE_SECONDS + MARGIN_SECONDS, page, slate, orjson.dumps(item_ids), orjson.dumps(before))
        try:
            kept: bytes = await self._server.client.eval(KEEP, 1, self._key(list_id), *arguments)
        except FAILURES as error:
            self._server.rest(f"a list: {type(error).__name__} {error}")
            return None
        return kept

    def _key(self, list_id: str) -> str:
        return f"{self._prefix}:l:{list_id}"
