"""Profile texts as the stores hold them: encrypted (Fernet: AES-128-CBC with HMAC-SHA256) under a key of the settings, or as they are.

Beside each encrypted text stands the name of its key, so that nothing has to be guessed: a text without one is plain, whatever it
looks like. New keys are put in front; the worker brings older texts, plain ones too, under the first key, and then the old key
may go.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import NamedTuple

from cryptography.fernet import Fernet, InvalidToken, MultiFernet

from app.errors import BadSettings, Unavailable

NAME_CHARS = 12


class StoredText(NamedTuple):
    """key: name of the key that `text` is encrypted with; None: plain."""

    text: str | None
    key: str | None


class TextCipher:
    """keys: of Fernet, the newest first; none: texts are stored as they are, and encrypted ones cannot be read. known: their names."""

    def __init__(self, keys: Sequence[str] = ()) -> None:
        """Raises BadSettings for a key that is none."""
        try:
            fernets = [Fernet(key) for key in keys]
        except ValueError as error:
            raise BadSettings(
                "DUOSCENE_PROFILE_KEYS holds something that is no key; make one with: "
                'python -c "from cryptography.fernet import Fernet; print(Fernet.generate_key().decode())"'
            ) from error
        self._all = MultiFernet(fernets) if fernets else None
        self.known = tuple(name_of(key) for key in keys)
        self.newest = self.known[0] if keys else None

    def encrypt(self, text: str | None) -> StoredText:
        if text is None or self._all is None:
            return StoredText(text, None)
        return StoredText(self._all.encrypt(text.encode()).decode(), self.newest)

    def decrypt(self, stored: StoredText) -> str | None:
        """Raises Unavailable where the key is not among ours: the text is neither lost nor taken for something else."""
        if stored.text is None or stored.key is None:
            return stored.text
        if self._all is None:
            raise missing_key(stored.key)
        try:
            return self._all.decrypt(stored.text.encode()).decode()
        except InvalidToken as error:
            raise missing_key(stored.key) from error

    def rotate(self, stored: StoredText) -> StoredText:
        """The same text under the newest key, with the time of its first encryption. Raises Unavailable."""
        if self._all is None or stored.text is None or stored.key is None:
            return self.encrypt(self.decrypt(stored))
        try:
            return StoredText(self._all.rotate(stored.text.encode()).decode(), self.newest)
        except InvalidToken as error:
            raise missing_key(stored.key) from error


def name_of(key: str) -> str:
    """Says which key it is and nothing of what it is."""
    return hashlib.sha256(b"duoscene profile key " + key.encode()).hexdigest()[:NAME_CHARS]


def missing_key(name: str) -> Unavailable:
    return Unavailable(
        f"a profile text is encrypted with key {name}, which is not among DUOSCENE_PROFILE_KEYS; add it again",
        code="store_unavailable",
    )


PLAIN = TextCipher()
