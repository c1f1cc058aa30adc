"""Cursors that only this service can read: encrypted and authenticated, bound to the API key that asked.

One secret for all API processes, made once and kept in the database. A process that could not read it yet seals with a secret
of its own, which only it can open.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import secrets
from typing import Protocol

import structlog
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from app.errors import Invalid, Unavailable

SECRET_NAME, SECRET_BYTES = "cursor", 32
NONCE_BYTES = 12
RETRY_SECONDS = 1.0
FORMAT = b"\x01"
logger = structlog.get_logger(__name__)


class SecretStore(Protocol):
    async def shared_secret(self, name: str, num_bytes: int) -> bytes:
        """The same for everybody who asks by this name; made at the first asking. Raises Unavailable."""


class Seal:
    """Between `start` and `close`. AES-256-GCM, a random nonce for each cursor."""

    def __init__(self, store: SecretStore) -> None:
        self._store = store
        self._own = AESGCM(secrets.token_bytes(SECRET_BYTES))
        self._shared: AESGCM | None = None
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Returns after the first try; later ones go on beside the service."""
        if not await self._read_secret():
            self._task = asyncio.create_task(self._keep_trying(), name="cursor secret")

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def seal(self, content: bytes, owner: str) -> str:
        nonce = secrets.token_bytes(NONCE_BYTES)
        sealed = (self._shared or self._own).encrypt(nonce, content, FORMAT + owner.encode())
        return base64.urlsafe_b64encode(FORMAT + nonce + sealed).decode().rstrip("=")

    def open(self, cursor: str, owner: str) -> bytes:
        """Raises Invalid("bad_cursor") for what this service did not give to this owner."""
        try:
            raw = base64.b64decode(cursor.encode("ascii") + b"=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        except (UnicodeError, binascii.Error) as error:
            raise bad_cursor() from error
        nonce, sealed = raw[1 : 1 + NONCE_BYTES], raw[1 + NONCE_BYTES :]
        if raw[:1] != FORMAT or len(nonce) < NONCE_BYTES:
            raise bad_cursor()
        for key in (self._shared, self._own):
            try:
                if key is not None:
                    return key.decrypt(nonce, sealed, FORMAT + owner.encode())
            except InvalidTag:
                continue
        raise bad_cursor()

    async def _read_secret(self) -> bool:
        try:
            self._shared = AESGCM(await self._store.shared_secret(SECRET_NAME, SECRET_BYTES))
        except Unavailable as error:
            logger.warning("the cursor secret could not be read", error=str(error))
            return False
        return True

    async def _keep_trying(self) -> None:
        is_read = False
        while not is_read:
            await asyncio.sleep(RETRY_SECONDS)
            is_read = await self._read_secret()


def bad_cursor() -> Invalid:
    return Invalid(
        "not a cursor of this API key; take `next_cursor` of a slate as it was given and send it with the same key",
        code="bad_cursor",
        loc=("cursor",),
    )
