"""The auxiliary text losses, recomputed by hand and seen to teach words."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest
import torch

from app.catalogue.shop_data import ShopData
from app.encoding.encoder import Encoder
from app.learning.auxiliary import query_text_loss, scenario_text_loss, user_text_loss
from app.learning.dataset import Interactions, interactions
from app.learning.inputs import Inputs, encode_inputs
from app.learning.training import Trainer, tower_config
from app.learning.training_config import TrainingConfig
from app.model.towers import Towers
from app.types import no_progress
from tests.unit.learning.builders import shop

TEA, CAR = ["green tea", "black tea", "tea pot"], ["car wax", "engine oil", "tyre pump"]


@pytest.fixture(scope="module")
def split_shop() -> tuple[Interactions, Inputs]:
    """Tea is chosen in the kitchen, car things in the garage, by the same people. Every third event was searched for."""
    rows, scenarios, contexts = [], [], []
    for n in range(240):
        in_kitchen = n % 2 == 0
        rows.append((f"u{n % 20:02}", (TEA if in_kitchen else CAR)[n // 2 % 3], float(n)))
        scenarios.append("kitchen" if in_kitchen else "garage")
        contexts.append(
            f'{{"query": "{"something hot to drink" if in_kitchen else "for the vehicle"}"}}' if n % 3 == 0 else None
        )
    data_shop = shop(rows, scenarios=scenarios)
    events = data_shop.events.with_columns(context=pl.Series(contexts, dtype=pl.String))
    data_shop = ShopData(data_shop.items, data_shop.users, events)
    data = interactions(data_shop)
    return data, encode_inputs(data_shop, data, Encoder(), no_progress, with_queries=True)


def towers_of(data: Interactions, inputs: Inputs) -> Towers:
    torch.manual_seed(0)
    towers = Towers(tower_config(data, inputs))
    towers.user.scenario.centre(torch.from_numpy(inputs.scenario_text_ST))
    return towers.eval()


def test_scenario_words_against_a_computation_by_hand(split_shop: tuple[Interactions, Inputs]) -> None:
    data, inputs = split_shop
    towers = towers_of(data, inputs)
    torch.nn.init.normal_(towers.user.scenario.text.weight, std=0.1)
    items = torch.nn.functional.normalize(torch.randn(6, 64), dim=-1)
    events = np.array([0, 1, 5])
    place = torch.from_numpy(data.item_E[events].astype(np.int64))
    log_share = torch.log(torch.full((6,), 1 / 6))
    found = scenario_text_loss(towers, inputs, data, events, items, place, log_share).item()
    expected = []
    for row in np.unique(data.scenario_E[events]):
        text = torch.from_numpy(inputs.scenario_text_ST[row]) - towers.user.scenario.text_mean
        words = towers.user.scenario.text.weight @ text
        logits = (items @ (words / words.norm()) / towers.temperature + log_share).detach().numpy()
        log_softmax = logits - np.log(np.exp(logits).sum())
        expected.append(-log_softmax[data.item_E[events][data.scenario_E[events] == row]].mean())
    assert found == pytest.approx(np.mean(expected), rel=1e-4)


def test_without_words_there_is_no_loss(split_shop: tuple[Interactions, Inputs]) -> None:
    data, inputs = split_shop
    towers, items = towers_of(data, inputs), torch.randn(6, 64)
    step = (data, np.arange(4), items, torch.zeros(4, dtype=torch.int64), torch.zeros(6))
    silent = replace(inputs, scenario_text_ST=np.zeros_like(inputs.scenario_text_ST))
    assert scenario_text_loss(towers, silent, *step).item() == 0.0
    assert not inputs.profile_UT.says_something_R.any()
    assert user_text_loss(towers, inputs, *step, np.random.default_rng(0)).item() == 0.0
    unasked = replace(data, query_E=np.zeros_like(data.query_E))
    assert query_text_loss(towers, inputs, unasked, *step[1:], np.random.default_rng(0)).item() == 0.0
    not_encoded = replace(inputs, query_QT=inputs.query_QT[:0])
    assert query_text_loss(towers, not_encoded, *step, np.random.default_rng(0)).item() == 0.0


def test_query_words_against_a_computation_by_hand(split_shop: tuple[Interactions, Inputs]) -> None:
    """Only the targets that were searched for count, each against all items of the step."""
    data, inputs = split_shop
    towers = towers_of(data, inputs)
    items = torch.nn.functional.normalize(torch.randn(6, 64), dim=-1)
    events = np.arange(9)
    place = torch.from_numpy(data.item_E[events].astype(np.int64))
    log_share = torch.log(torch.tensor([0.3, 0.1, 0.2, 0.2, 0.1, 0.1]))
    found = query_text_loss(towers, inputs, data, events, items, place, log_share, np.random.default_rng(0)).item()
    asked = [event for event in events if data.query_E[event] > 0]
    assert 0 < len(asked) < len(events)
    expected = []
    for event in asked:
        words = towers.user.profile(torch.from_numpy(inputs.query_QT[[data.query_E[event]]]))[0].detach()
        logits = (items @ (words / words.norm()) / towers.temperature + log_share).detach().numpy()
        expected.append(np.log(np.exp(logits).sum()) - logits[data.item_E[event]])
    assert found == pytest.approx(np.mean(expected), rel=1e-4)


def test_trained_with_it_a_querys_words_point_at_what_it_led_to(split_shop: tuple[Interactions, Inputs]) -> None:
    data, inputs = split_shop
    towers = towers_of(data, inputs)
    config = TrainingConfig(epochs=12, learning_rate=1e-2, predict_repeats=True, query_text_weight=1.0)
    trainer = Trainer(data, inputs, towers, config)
    trainer.run(no_progress)
    items = trainer.objective.item_vectors().detach()
    words = towers.user.profile(torch.from_numpy(Encoder().encode(["something hot to drink"])))
    cosine = (torch.nn.functional.normalize(words, dim=-1) @ items.T)[0].detach().numpy()
    tea, car = ([data.item_ids.index(name) for name in names] for names in (TEA, CAR))
    assert cosine[tea].min() > cosine[car].max() + 0.3


def test_user_words_are_pulled_to_what_the_user_chose(split_shop: tuple[Interactions, Inputs]) -> None:
    data, inputs = split_shop
    towers, items = towers_of(data, inputs), torch.nn.functional.normalize(torch.randn(6, 64), dim=-1)
    profiles = np.random.default_rng(0).normal(size=(len(data.user_ids), 384)).astype(np.float32)

    class Profiles(SimpleNamespace):
        def __getitem__(self, rows: np.ndarray) -> np.ndarray:
            return profiles[rows]

    told = replace(inputs, profile_UT=Profiles(says_something_R=np.ones(len(profiles), bool)))  # type: ignore[arg-type]
    events = np.arange(40)
    place = torch.from_numpy(data.item_E[events].astype(np.int64))
    optimiser = torch.optim.Adam(towers.user.profile.parameters(), lr=1e-2)
    losses = []
    for _ in range(30):
        loss = user_text_loss(towers, told, data, events, items, place, torch.zeros(6), np.random.default_rng(0))
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.7 * losses[0]


def test_trained_with_it_a_scenarios_words_point_at_its_items(split_shop: tuple[Interactions, Inputs]) -> None:
    data, inputs = split_shop
    towers = towers_of(data, inputs)
    config = TrainingConfig(epochs=12, learning_rate=1e-2, predict_repeats=True, scenario_text_weight=1.0)
    trainer = Trainer(data, inputs, towers, config)
    trainer.run(no_progress)
    items = trainer.objective.item_vectors().detach()
    kitchen = data.scenarios.index("kitchen")
    words = towers.user.scenario(
        torch.zeros(1, dtype=torch.int64), torch.from_numpy(inputs.scenario_text_ST[[kitchen]])
    )
    cosine = (torch.nn.functional.normalize(words, dim=-1) @ items.T)[0].detach().numpy()
    tea, car = ([data.item_ids.index(name) for name in names] for names in (TEA, CAR))
    assert cosine[tea].min() > cosine[car].max() + 0.3
