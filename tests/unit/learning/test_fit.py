"""A checkerboard: two kinds of shoppers, two kinds of items, and the model must return the withheld half."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import orjson
import polars as pl
import pytest

from app.catalogue.item import Item
from app.catalogue.shop_data import ShopData
from app.encoding.encoder import Encoder
from app.errors import BadArtifact, BadData, Cancelled
from app.features.texts import PROMPT_VERSION, item_text, scenario_text
from app.features.users import HistoryItem, UserBatch, fold_users
from app.learning.checkpoint import Checkpoints
from app.learning.dataset import Interactions, interactions
from app.learning.evaluation.rank import Ranker
from app.learning.fit import fit
from app.learning.fit_config import FitConfig
from app.learning.inputs import Inputs, encode_inputs
from app.learning.jobs import Job
from app.learning.run import TRIAL, Material, RetrainDeps, retrain
from app.learning.sources import repeat
from app.learning.sources.judge import Judge
from app.learning.splits import split
from app.learning.training_config import TrainingConfig
from app.learning.warm_start import transplant
from app.retrieval.index import Neighbours
from app.retrieval.snapshot import Snapshot
from app.retrieval.sources import SOURCE_NAMES
from app.retrieval.space import ItemSpace
from app.scenarios.scenario import Scenario
from app.serving.live import make_table
from app.types import BoolArray, Float32Array, Progress, no_progress, utc_now
from tests.unit.learning.builders import Row, shop

TEA = ["green tea", "black tea", "herbal tea", "tea pot", "tea cup", "tea strainer", "matcha whisk", "tea tin"]
CAR = ["car wax", "car jack", "engine oil", "tyre pump", "dash camera", "spark plug", "car polish", "brake pads"]


def checkerboard(num_users: int = 60, seed: int = 0) -> ShopData:
    """Even users take six of the eight tea things, odd users six of the car things, in random order."""
    rng = np.random.default_rng(seed)
    rows: list[Row] = []
    for user in range(num_users):
        names = TEA if user % 2 == 0 else CAR
        rows += [(f"u{user:02}", names[place], user * 10 + n) for n, place in enumerate(rng.permutation(8)[:6])]
    return shop(sorted(rows, key=lambda row: row[2]), titles={name: name for name in TEA + CAR})


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    return Encoder()


@pytest.fixture(scope="module")
def fitted(encoder: Encoder) -> tuple[Snapshot, Interactions, Inputs]:
    data = interactions(checkerboard())
    inputs = encode_inputs(checkerboard(), data, encoder, no_progress)
    config = FitConfig(training=TrainingConfig(epochs=20, seed=3), encoder_key=encoder.key)
    return fit(data, inputs, config, no_progress), data, inputs


def top(snapshot: Snapshot, history: list[str], num: int, source: str = "two_tower") -> list[str]:
    past = [HistoryItem(snapshot.row_of[item], 2, 0.0) for item in history]
    users = fold_users([past], [3600.0], np.zeros((1, 384), np.float32), [0])
    excluded = [np.asarray([entry.row for entry in past], np.int64)]
    found = snapshot.recommend(
        users, snapshot.space(), snapshot.scenarios(), num, weights=[{source: 1.0}], excluded=excluded
    )
    return [snapshot.item_ids[row] for row in found[0].rows_C]


@pytest.mark.parametrize(
    "source", ["two_tower", "item_cf", "user_cf", "matrix_factorisation", "knowledge_graph", "complements"]
)
def test_the_withheld_items_come_first(fitted: tuple[Snapshot, Interactions, Inputs], source: str) -> None:
    assert set(top(fitted[0], TEA[:6], 2, source)) == set(TEA[6:])
    assert set(top(fitted[0], CAR[2:], 2, source)) == set(CAR[:2])


def test_saved_and_loaded_is_the_same(fitted: tuple[Snapshot, Interactions, Inputs], tmp_path: Path) -> None:
    fitted[0].save(tmp_path / "model")
    loaded = Snapshot.load(tmp_path / "model")
    assert loaded.manifest.data == fitted[0].manifest.data
    for history in (TEA[:3], CAR[:1]):
        for source in SOURCE_NAMES:
            assert top(loaded, history, 10, source) == top(fitted[0], history, 10, source), source
    assert loaded.manifest.sources == {name: source.parameters for name, source in fitted[0].fitted.items()}
    array = loaded.fitted["content"].arrays["vectors"]
    assert isinstance(array.base, np.memmap)  # processes share its pages


def test_an_artifact_of_an_earlier_format_says_what_to_do(
    fitted: tuple[Snapshot, Interactions, Inputs], tmp_path: Path
) -> None:
    fitted[0].save(tmp_path / "model")
    manifest = tmp_path / "model" / "manifest.json"
    manifest.write_bytes(orjson.dumps(orjson.loads(manifest.read_bytes()) | {"format": 1}))
    with pytest.raises(BadArtifact, match=r"format 1, this release reads .*duoscene train"):
        Snapshot.load(tmp_path / "model")


def test_the_manifest_says_what_was_tried(encoder: Encoder) -> None:
    data = interactions(checkerboard())
    inputs = encode_inputs(checkerboard(), data, encoder, no_progress)
    config = FitConfig(protocol="loo", training=TrainingConfig(epochs=1))
    training = fit(data, inputs, config, no_progress).manifest.training
    assert isinstance(training["validation_ndcg@10"], dict)
    assert isinstance(training["sources"], dict)
    for name in ("item_cf", "user_cf", "matrix_factorisation", "content", "knowledge_graph", "complements", "popular"):
        trials = training["sources"][name]
        assert len(trials) > 1
        assert max(trial["ndcg@10"] for trial in trials) >= training["validation_ndcg@10"][name] - 1e-4


def test_the_judge_of_a_large_catalogue_looks_at_some_of_the_users(
    fitted: tuple[Snapshot, Interactions, Inputs], monkeypatch: pytest.MonkeyPatch
) -> None:
    snapshot, data, inputs = fitted
    inner = split(data, "loo")
    ranker, asked = Ranker(snapshot, inner.train, inputs), []

    class Oracle:
        """Knows what each user of the split wants next."""

        name = "oracle"

        def __init__(self, wanted: list[int]) -> None:
            self.wanted = wanted

        def find(self, users: UserBatch, space: ItemSpace, num: int, allowed_R: BoolArray | None) -> Neighbours:
            asked.append(len(users))
            rows = np.asarray(self.wanted)[:, None]
            return rows, np.ones(rows.shape, np.float32)

    wanted = [int(targets[0]) for targets in inner.targets]
    assert Judge.of_split(ranker, inner, "exclude")(Oracle(wanted), about="all") == pytest.approx(1.0)
    monkeypatch.setattr("app.learning.sources.judge.MAX_SCORES", 0)
    monkeypatch.setattr("app.learning.sources.judge.MIN_USERS", 3)
    chosen = [wanted[0], wanted[(len(wanted) - 1) // 2], wanted[-1]]
    judge = Judge.of_split(ranker, inner, "exclude")
    assert judge(Oracle(chosen), about="three") == pytest.approx(1.0)
    assert asked == [len(wanted), 3]
    assert judge.trials == {"oracle": [{"about": "three", "ndcg@10": 1.0}]}


def test_an_altered_or_torn_artifact_never_loads(fitted: tuple[Snapshot, Interactions, Inputs], tmp_path: Path) -> None:
    fitted[0].save(tmp_path / "model")
    path = tmp_path / "model" / "vectors_ND.npy"
    held = path.read_bytes()
    path.write_bytes(held[:-1] + bytes([held[-1] ^ 1]))
    with pytest.raises(BadArtifact, match="checksum"):
        Snapshot.load(tmp_path / "model")
    path.unlink()
    with pytest.raises(BadArtifact, match="missing"):
        Snapshot.load(tmp_path / "model")
    with pytest.raises(BadArtifact, match="manifest"):
        Snapshot.load(tmp_path)


def test_a_new_item_is_placed_by_its_text(fitted: tuple[Snapshot, Interactions, Inputs], encoder: Encoder) -> None:
    snapshot = fitted[0]
    delta = [Item("new tea", title="oolong tea leaves"), Item("new car", title="car wheel cleaner")]
    space = snapshot.space(delta, encoder.encode([item_text(item) for item in delta]))
    vectors = space.vectors_MD @ snapshot.vectors_ND.T
    tea = [snapshot.row_of[name] for name in TEA]
    car = [snapshot.row_of[name] for name in CAR]
    assert vectors[0, tea].mean() > vectors[0, car].mean() + 0.2
    assert vectors[1, car].mean() > vectors[1, tea].mean() + 0.2


def test_a_replaced_item_keeps_its_history_and_leaves_its_old_row(
    fitted: tuple[Snapshot, Interactions, Inputs], encoder: Encoder
) -> None:
    snapshot = fitted[0]
    changed = Item(TEA[7], title="tea tin, large")
    space = snapshot.space([changed], encoder.encode([item_text(changed)]))
    row = len(snapshot.item_ids)
    assert space.trained_rows(np.array([[row, 0, -1]], np.int32)).tolist() == [[snapshot.row_of[TEA[7]], 0, -1]]
    allowed = np.ones(len(space), np.bool_)
    allowed[snapshot.row_of[TEA[7]]] = False
    past = [HistoryItem(snapshot.row_of[name], 2, 0.0) for name in TEA[:6]]
    users = fold_users([past], [3600.0], np.zeros((1, 384), np.float32), [0])
    for source in ("two_tower", "item_cf", "matrix_factorisation", "content", "knowledge_graph", "popular"):
        found = snapshot.recommend(
            users, space, snapshot.scenarios(), 16, weights=[{source: 1.0}], allowed_R=allowed,
            excluded=[np.asarray([entry.row for entry in past], np.int64)],
        )  # fmt: skip
        assert row in found[0].rows_C.tolist(), source
        assert snapshot.row_of[TEA[7]] not in found[0].rows_C.tolist()


def test_sampled_negatives_learn_it_too(encoder: Encoder, monkeypatch: pytest.MonkeyPatch) -> None:
    """The way of large catalogues, taken here by a small one."""
    monkeypatch.setattr("app.learning.objective.FULL_SOFTMAX_BELOW", 5)
    data = interactions(checkerboard())
    inputs = encode_inputs(checkerboard(), data, encoder, no_progress)
    snapshot = fit(data, inputs, FitConfig(training=TrainingConfig(epochs=20, seed=3)), no_progress)
    assert set(top(snapshot, TEA[:6], 2)) == set(TEA[6:])
    assert set(top(snapshot, CAR[2:], 2)) == set(CAR[:2])


def test_the_second_fit_equals_the_first(encoder: Encoder) -> None:
    data = interactions(checkerboard(20))
    inputs = encode_inputs(checkerboard(20), data, encoder, no_progress)
    config = FitConfig(training=TrainingConfig(epochs=2, seed=5))
    first, second = (fit(data, inputs, config, no_progress) for _ in range(2))
    assert np.array_equal(first.vectors_ND, second.vectors_ND)
    assert first.manifest.fusion == second.manifest.fusion


def test_transplanted_towers_know_the_known(fitted: tuple[Snapshot, Interactions, Inputs]) -> None:
    snapshot, data, _ = fitted
    grown = replace(data, item_ids=["a new one", *data.item_ids])
    towers = transplant(snapshot, grown, seed=0)
    old, new = snapshot.runner.towers.item.id.weight, towers.item.id.weight
    assert len(new) == len(old) + 1
    assert np.allclose(new[2:].detach().numpy(), old[1:].detach().numpy())
    assert not new[1].any()


def job(mode: str = "full") -> Job:
    return Job(job_id="01J", mode=mode, state="running", created_at=utc_now())  # type: ignore[arg-type]


def deps(
    data: ShopData, encoder: Encoder, into: Path, live: Path | None = None, checkpoints: Checkpoints | None = None
) -> RetrainDeps:
    def publish(directory: Path, version: str) -> None:
        directory.rename(into / version)

    training = TrainingConfig(epochs=6, seed=1)
    material = Material(data.items, data.users, interactions(data))
    return RetrainDeps(material, {}, 7, encoder, publish, live=live, training=training, checkpoints=checkpoints)


def test_a_retraining_run_full_then_incremental(encoder: Encoder, tmp_path: Path) -> None:
    first = retrain(job(), deps(checkerboard(), encoder, tmp_path), no_progress)
    assert first.activate
    artifact = tmp_path / first.version.version
    manifest = Snapshot.load(artifact).manifest
    assert manifest.catalogue_revision == 7
    assert manifest.metrics == first.version.metrics
    assert Snapshot.load(artifact / TRIAL).manifest.data["events"] < first.version.data["events"]  # type: ignore[operator]
    assert {"duoscene", "popularity", "item_knn"} <= set(first.version.metrics)
    grown = checkerboard(80)
    second = retrain(job("incremental"), deps(grown, encoder, tmp_path, artifact), no_progress)
    assert second.version.mode == "incremental"
    assert "live" in second.version.metrics
    loaded = Snapshot.load(tmp_path / second.version.version)
    assert set(top(loaded, TEA[:6], 2)) == set(TEA[6:])


def test_the_live_model_is_not_judged_by_what_it_has_learned_from(encoder: Encoder, tmp_path: Path) -> None:
    """Old events that are imported later move the last tenth of time back, into the past of the live model's trial."""
    live = retrain(job(), deps(checkerboard(), encoder, tmp_path), no_progress).version
    known = Snapshot.load(tmp_path / live.version / TRIAL).manifest.data
    shop = checkerboard()
    earlier = [
        shop.events.with_columns(
            pl.format("{} of {}", "event_id", pl.lit(days)), pl.col("occurred_at") - timedelta(days=days)
        )
        for days in (900, 800)
    ]
    grown = replace(shop, events=pl.concat([*earlier, shop.events]))
    said = retrain(job(), deps(grown, encoder, tmp_path, tmp_path / live.version), no_progress).version
    trial = Snapshot.load(tmp_path / said.version / TRIAL).manifest.data
    assert "live" in said.metrics
    assert trial["until"] == known["until"]
    cut = float(np.quantile(interactions(grown).at_E, 0.9))
    assert cut < datetime.fromisoformat(str(known["until"])).timestamp()  # without more ado it were this


def test_a_live_model_of_other_texts_is_neither_continued_nor_compared_with(encoder: Encoder, tmp_path: Path) -> None:
    first = retrain(job(), deps(checkerboard(20), encoder, tmp_path), no_progress)
    artifact = tmp_path / first.version.version
    for manifest in (artifact / "manifest.json", artifact / TRIAL / "manifest.json"):
        text = manifest.read_text()
        assert f'"prompt_version": "{PROMPT_VERSION}"' in text
        manifest.write_text(text.replace(f'"prompt_version": "{PROMPT_VERSION}"', '"prompt_version": "0"'))
    second = retrain(job("incremental"), deps(checkerboard(20), encoder, tmp_path, artifact), no_progress)
    assert second.version.mode == "full"
    assert "live" not in second.version.metrics
    assert "continued_from" not in Snapshot.load(tmp_path / second.version.version).manifest.training


def test_nothing_to_learn_from_says_so(encoder: Encoder, tmp_path: Path) -> None:
    with pytest.raises(BadData, match="at least 20"):
        retrain(job(), deps(checkerboard(2), encoder, tmp_path), no_progress)
    assert list(tmp_path.iterdir()) == []


def test_a_cancelled_run_publishes_nothing(encoder: Encoder, tmp_path: Path) -> None:
    def stop(stage: str, done: float, note: str = "") -> None:
        if stage == "fit on everything":
            raise Cancelled("told to stop")

    with pytest.raises(Cancelled):
        retrain(job(), deps(checkerboard(), encoder, tmp_path), stop)
    assert list(tmp_path.iterdir()) == []


def test_a_cancelled_run_is_taken_up_where_it_stopped(encoder: Encoder, tmp_path: Path) -> None:
    """The next run does no epoch twice and ends with the same model as one that was never stopped."""
    said: list[str] = []

    def stop(at: str, done: float, note: str = "") -> None:
        said.append(f"{at}: {note}")
        if at == "fit on everything" and note.startswith("epoch 1"):
            raise Cancelled("told to stop")

    folder, again, whole = (tmp_path / name for name in ("checkpoints", "again", "whole"))
    for path in (folder, again, whole):
        path.mkdir()
    with pytest.raises(Cancelled):
        retrain(job(), deps(checkerboard(20), encoder, again, checkpoints=Checkpoints(folder)), stop)
    before = [note for note in said if ": epoch" in note]
    said.clear()

    def tell(at: str, done: float, note: str = "") -> None:
        said.append(f"{at}: {note}")

    resumed = retrain(job(), deps(checkerboard(20), encoder, again, checkpoints=Checkpoints(folder)), tell)
    uninterrupted = retrain(job(), deps(checkerboard(20), encoder, whole), no_progress)
    assert any("goes on from a checkpoint" in note for note in said)
    assert not set(before) & set(said)
    models = [Snapshot.load(path / run.version.version) for path, run in ((again, resumed), (whole, uninterrupted))]
    assert np.array_equal(models[0].vectors_ND, models[1].vectors_ND)
    assert models[0].manifest.fusion == models[1].manifest.fusion
    assert list(folder.iterdir()) == []


def test_repeat_is_tuned_for_the_service_on_cases_that_want_an_old_item_again(encoder: Encoder) -> None:
    """Milk is bought every second day, everything else once; repeats are excluded elsewhere, as in the service."""
    rows: list[Row] = [
        (f"u{u:02}", "milk" if n % 2 else f"i{(7 * u + n) % 60}", 24.0 * n + u / 10)
        for n in range(20)
        for u in range(70)
    ]
    table = shop(rows, type="purchase")
    data = interactions(table)
    inputs = encode_inputs(table, data, encoder, no_progress)
    config = FitConfig(fusion_cases="next_event", training=TrainingConfig(epochs=1))
    tried = fit(data, inputs, config, no_progress).manifest.training["sources"]
    assert isinstance(tried, dict)
    assert len(tried["repeat"]) > len(repeat.GRID["half_life_days"])
    assert max(trial["ndcg@10"] for trial in tried["repeat"]) > 0.9


def test_a_source_of_weight_zero_is_not_run(
    fitted: tuple[Snapshot, Interactions, Inputs], monkeypatch: pytest.MonkeyPatch
) -> None:
    snapshot, data, _ = fitted

    def never(*_: object) -> None:
        raise AssertionError("this source must not be asked")

    monkeypatch.setattr("app.retrieval.sources.user_cf.UserCfSource.find", never)
    users = fold_users([[HistoryItem(0, 2, 0.0)]], [3600.0], np.zeros((1, 384), np.float32), [0])
    asked = {"item_cf": 1.0, "user_cf": 0.0}
    (found,) = snapshot.recommend(users, snapshot.space(), snapshot.scenarios(), 5, weights=[asked])
    assert set(found.ranks) == {"item_cf"}
    assert len(data.item_ids) > 5


def test_scenarios_that_training_knew_are_served_without_the_encoder(
    fitted: tuple[Snapshot, Interactions, Inputs], encoder: Encoder
) -> None:
    """It may not be loaded yet when the first slate is asked for."""
    snapshot, data, _ = fitted
    known = [Scenario(name, "Described since.") for name in data.scenarios]
    table = make_table(NoEncoder(), snapshot, known)
    assert np.array_equal(table.text_ST, snapshot.scenario_text_ST)
    new = Scenario("gift", "Presents for somebody else.")
    with pytest.raises(AssertionError, match="asked"):
        make_table(NoEncoder(), snapshot, [*known, new])
    row = make_table(encoder, snapshot, [*known, new]).row("gift")
    assert row == len(known)


class NoEncoder(Encoder):
    def encode(self, texts: Sequence[str], progress: Progress = no_progress, *, keep: bool = True) -> Float32Array:
        raise AssertionError("asked")


def test_texts_of_scenarios_without_events_are_left_in_the_cache(encoder: Encoder) -> None:
    asked = set[str]()

    class Noting(Encoder):
        def encode(self, texts: Sequence[str], progress: Progress = no_progress, *, keep: bool = True) -> Float32Array:
            asked.update(texts if keep else ())
            return encoder.encode(texts, progress, keep=keep)

    gift = Scenario("gift", "Presents for somebody else.")
    inputs = encode_inputs(checkerboard(), interactions(checkerboard()), Noting(), no_progress, {"gift": gift})
    assert scenario_text(gift) in asked
    assert len(inputs.scenario_text_ST) == len(interactions(checkerboard()).scenarios)
