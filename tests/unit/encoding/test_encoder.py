from pathlib import Path

import numpy as np
import pytest
import torch

from app import processor
from app.encoding.cache import FileVectorCache, content_hash
from app.encoding.encoder import Encoder, load_model


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    return Encoder()


def test_meaning_is_near_and_the_empty_text_is_nothing(encoder: Encoder) -> None:
    mug, cup, car, nothing = encoder.encode(["a coffee mug", "a tea cup", "a racing car", " "])
    assert mug @ cup > mug @ car + 0.1
    assert not nothing.any()
    assert np.linalg.norm(mug) == pytest.approx(1.0, abs=0.01)


def test_order_and_repeats_are_kept(encoder: Encoder) -> None:
    vectors = encoder.encode(["long " * 50, "short", "long " * 50])
    assert np.array_equal(vectors[0], vectors[2])
    assert np.allclose(vectors[1], encoder.encode(["short"])[0], atol=0.02)


def test_a_known_text_is_not_encoded_again(tmp_path: Path) -> None:
    cache = FileVectorCache(tmp_path)
    first = Encoder(cache=cache)
    vectors = first.encode(["one", "two"])
    marked = np.full(384, 0.5, np.float32)
    cache.put_many(first.key, {content_hash("two"): marked})
    again = Encoder(cache=cache).encode(["two", "one"])
    assert np.array_equal(again[0], marked)
    assert np.allclose(again[1], vectors[0], atol=1e-3)


def test_caches_of_encoders_do_not_mix(tmp_path: Path) -> None:
    cache = FileVectorCache(tmp_path)
    cache.put_many("a", {b"k" * 16: np.ones(3, np.float32)})
    assert cache.get_many("b", [b"k" * 16]) == {}
    assert cache.get_many("a", [b"k" * 16])[b"k" * 16].tolist() == [1.0, 1.0, 1.0]


def test_known_texts_need_no_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that starts reads the vectors of its scenarios' texts; importing the encoder would take it seconds."""
    cache = FileVectorCache(tmp_path)
    vectors = Encoder(cache=cache).encode(["known", ""])
    monkeypatch.setattr("app.encoding.encoder.shared_model", lambda *_: pytest.fail("loaded"))
    np.testing.assert_allclose(Encoder(cache=cache).encode(["known", ""]), vectors, atol=1e-4)


def test_sixteen_bits_are_for_processors_that_multiply_them_and_mean_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = ["wool socks", "a bread knife", "garden chair, folding, beech"]
    vectors = {}
    for there in (True, False):
        monkeypatch.setattr(processor, "BFLOAT16", there)
        model = load_model("default", "bfloat16")
        assert next(model.parameters()).dtype == (torch.bfloat16 if there else torch.float32)
        vectors[there] = model.encode(texts, convert_to_tensor=True, normalize_embeddings=True).float().numpy()
    alike = (vectors[True] * vectors[False]).sum(1) / np.linalg.norm(vectors[True], axis=1)
    assert alike == pytest.approx(1.0, abs=5e-3)
