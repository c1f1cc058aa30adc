"""Ids of shoppers as the stores see them: an HMAC of the storefront's id, with the id itself encrypted behind it.

With a secret from the settings, every user and session id is replaced at the edge, on its way in and on its way back, so that the
storefront notices nothing and no store ever sees one of its ids. Whoever has the stores alone can neither read nor guess them;
equal ids have equal pseudonyms, or nothing could be found. The tag is also the nonce of the encryption (the synthetic
initialisation vector of Rogaway & Shrimpton 2006, with HMAC-SHA256 as its pseudorandom function).
"""

from __future__ import annotations

import base64
import binascii
import hmac

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CTR
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

MARK = "~"
TAG_BYTES, KEY_BYTES = 16, 32
BLOCK = 16  # lengths are rounded up to it, so that they tell little


class Pseudonyms:
    """secret: of the settings. Another one gives other pseudonyms for all: what is stored under the old ones is not found any more."""

    def __init__(self, secret: str) -> None:
        keys = HKDF(SHA256(), 2 * KEY_BYTES, salt=None, info=b"duoscene pseudonyms 1").derive(secret.encode())
        self._tag_key, self._cipher_key = keys[:KEY_BYTES], keys[KEY_BYTES:]

    def hide(self, given: str) -> str:
        """given: any id; about 10 microseconds. The same always gives the same, of 45 characters or more."""
        plain = given.encode()
        plain += bytes(-len(plain) % BLOCK)  # no id holds a NUL
        tag = self._tag(plain)
        return MARK + base64.urlsafe_b64encode(tag + self._stream(tag, plain)).decode().rstrip("=")

    def show(self, stored: str) -> str:
        """The id behind a pseudonym; what is none of this secret's comes back as it is."""
        try:
            raw = base64.b64decode(stored[1:] + "=" * (-len(stored[1:]) % 4), altchars=b"-_", validate=True)
        except (binascii.Error, ValueError):
            return stored
        if not stored.startswith(MARK) or len(raw) <= TAG_BYTES:
            return stored
        plain = self._stream(raw[:TAG_BYTES], raw[TAG_BYTES:])
        if not hmac.compare_digest(self._tag(plain), raw[:TAG_BYTES]):
            return stored
        return plain.rstrip(b"\0").decode()

    def _tag(self, plain: bytes) -> bytes:
        return hmac.digest(self._tag_key, plain, "sha256")[:TAG_BYTES]

    def _stream(self, tag: bytes, content: bytes) -> bytes:
        """Encrypts, and decrypts what it encrypted."""
        return Cipher(AES(self._cipher_key), CTR(tag)).encryptor().update(content)
