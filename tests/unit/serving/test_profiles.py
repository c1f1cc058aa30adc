import asyncio
import threading
import tracemalloc

import numpy as np
import pytest

from app.catalogue.item import User
from app.encoding.encoder import Encoder
from app.features.texts import user_text
from app.serving import profiles as profiles_module
from app.serving.profiles import ProfileTexts


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    return Encoder()


class Counting:
    """The real encoder, with a note of what it was asked."""

    def __init__(self, encoder: Encoder) -> None:
        self.encoder, self.calls = encoder, list[list[str]]()

    def encode(self, texts: list[str], *, keep: bool) -> np.ndarray:
        assert not keep, "a profile given with a request is never stored"
        self.calls.append(texts)
        if "bad" in texts:
            raise ValueError("cannot encode")
        return self.encoder.encode(texts)


async def test_concurrent_texts_share_calls_and_are_remembered(encoder):
    counting = Counting(encoder)
    profiles = ProfileTexts(counting)  # type: ignore[arg-type]
    texts = [f"I like number {n % 10}" for n in range(40)]
    vectors = await asyncio.gather(*map(profiles.vector, texts))
    assert len(counting.calls) <= 2
    assert sum(map(len, counting.calls)) == 10
    np.testing.assert_allclose(vectors[13], encoder.encode([texts[13]])[0], atol=0.02)
    await profiles.vector(texts[5])
    assert sum(map(len, counting.calls)) == 10


async def test_what_a_profile_says_is_written_once_and_forgotten_when_told(encoder, monkeypatch):
    written: list[User] = []
    monkeypatch.setattr(profiles_module, "user_text", lambda user: written.append(user) or user_text(user))
    profiles = ProfileTexts(Counting(encoder))  # type: ignore[arg-type]
    cook, other = User("u1", "I cook"), User("u2", "I cook", attributes={"pets": 2})
    first = await profiles.of(cook)
    assert np.array_equal(first, await profiles.vector(user_text(cook)))
    assert np.array_equal(first, await profiles.of(User("u3", "I cook")))
    assert not np.array_equal(first, await profiles.of(other))
    assert await profiles.of(User("u4")) is None
    assert len(written) == 3
    profiles.forget()
    await profiles.of(cook)
    assert len(written) == 4


async def test_a_long_profile_is_not_kept(encoder):
    profiles = ProfileTexts(Counting(encoder))  # type: ignore[arg-type]
    tracemalloc.start()
    try:
        for n in range(20):
            await profiles.of(User("u", "I fish", attributes={"notes": f"{n}" + "x" * 60_000}))
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept < 20 * 60_000 / 4


async def test_a_failing_call_reaches_its_waiters_only(encoder):
    profiles = ProfileTexts(Counting(encoder))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="cannot encode"):
        await profiles.vector("bad")
    assert (await profiles.vector("good")).shape == (384,)


async def test_whether_the_encoder_is_there_is_known_while_it_loads():
    goes_on = threading.Event()

    class Slow:
        def load(self) -> None:
            goes_on.wait()
            raise OSError("no weights")

    profiles = ProfileTexts(Slow())  # type: ignore[arg-type]
    assert not profiles.has_loaded
    await profiles.start()
    await asyncio.sleep(0)
    assert not profiles.has_loaded
    goes_on.set()
    await profiles.loaded()
    assert profiles.has_loaded  # or cannot be had: nobody shall wait for ever
