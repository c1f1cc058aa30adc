"""ULIDs by the thousand."""

from __future__ import annotations

import base64
import os
import time

TIME_BYTES, RANDOM_BYTES = 6, 10  # milliseconds since 1970, and what makes one its own
RANDOM_CHARS = 16
ZEROS = bytes(4)  # before the time: base 32 goes by five bytes, a ULID has sixteen
TIME = slice(6, 16)  # its characters of those
CROCKFORD = bytes.maketrans(b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", b"0123456789ABCDEFGHJKMNPQRSTVWXYZ")


def new_ulids(count: int) -> list[str]:
    """Of this moment, in no order; many take a tenth of the time that as many `ULID()` do."""
    moment = (time.time_ns() // 1_000_000).to_bytes(TIME_BYTES)
    raw = ZEROS + moment + os.urandom(RANDOM_BYTES * count)
    chars = base64.b32encode(raw).translate(CROCKFORD).decode()
    same = chars[TIME]
    return [same + chars[start : start + RANDOM_CHARS] for start in range(TIME.stop, len(chars), RANDOM_CHARS)]
