"""Every variant runs on a small log; the controls are what they say they are."""

import numpy as np
import pytest

from app.encoding.encoder import Encoder
from app.errors import Invalid
from app.learning.dataset import Interactions, interactions
from app.learning.evaluation.ablation import VARIANTS, ablate, random_vectors, shuffled, tf_idf, whitened
from app.learning.fit_config import FitConfig
from app.learning.inputs import Inputs, encode_inputs
from app.learning.training_config import TrainingConfig
from app.types import no_progress
from tests.unit.learning.test_fit import checkerboard


@pytest.fixture(scope="module")
def data() -> Interactions:
    return interactions(checkerboard())


@pytest.fixture(scope="module")
def inputs(data: Interactions) -> Inputs:
    return encode_inputs(checkerboard(), data, Encoder(), no_progress)


def test_every_variant_is_trained_and_judged(data: Interactions, inputs: Inputs) -> None:
    report = ablate(data, inputs, FitConfig(protocol="loo", training=TrainingConfig(epochs=1)), ("all",), no_progress)
    rows = report["rows"]
    assert isinstance(rows, list)
    assert [row["variant"] for row in rows] == [variant.name for variant in VARIANTS]
    assert report["withheld_items"] == 2
    for row in rows:
        assert 0 <= row["ndcg@10"]["mean"] <= 1
        assert 0 <= row["cold_recall@20"]["mean"] <= 1
    default = [row for row in rows if row["variant"] in ("text + id + gate + id dropout", "full softmax")]
    assert [row["against_default"]["mean"] for row in default] == [0, 0]


def test_an_unknown_group_is_named(data: Interactions, inputs: Inputs) -> None:
    with pytest.raises(Invalid, match=r"called 'texts'; there are: .*history, id, "):
        ablate(data, inputs, FitConfig(), ("texts",), no_progress)


def test_text_controls_keep_shape_and_length(inputs: Inputs) -> None:
    for control in (shuffled, random_vectors, whitened, tf_idf):
        text_NT = control(inputs, np.random.default_rng(1))
        assert text_NT.shape == inputs.text_NT.shape
        assert text_NT.dtype == np.float32


def test_shuffled_texts_are_the_same_texts_elsewhere(inputs: Inputs) -> None:
    other = shuffled(inputs, np.random.default_rng(1))
    assert not np.array_equal(other, inputs.text_NT)
    assert np.array_equal(np.sort(other, axis=0), np.sort(inputs.text_NT, axis=0))


def test_tf_idf_puts_items_of_the_same_words_together(inputs: Inputs) -> None:
    titles = inputs.item_frame["title"].to_list()
    text_NT = tf_idf(inputs, np.random.default_rng(1))
    green, black, wax = (text_NT[titles.index(name)] for name in ("green tea", "black tea", "car wax"))
    assert green @ black > 0.5 > green @ wax
