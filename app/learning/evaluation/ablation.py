"""Ablations: what each part of the towers earns. Every variant is trained and judged alike, by the towers' lists alone.

A tenth of the items is withheld from all training and validation, so that one run tells both what a part does for known items
(NDCG@10 over the trained catalogue) and for new ones (Recall@20 among the withheld, known by their words).
Shapes: N items, T text.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from app.catalogue.records import items_of
from app.errors import Invalid
from app.features.texts import item_text
from app.learning.dataset import Interactions
from app.learning.evaluation.bootstrap import FloatArray, intervals
from app.learning.evaluation.compare import Judged, difference, judge
from app.learning.evaluation.metrics import hits
from app.learning.evaluation.rank import Ranker
from app.learning.fit import fit_towers
from app.learning.fit_config import FitConfig
from app.learning.inputs import Inputs
from app.learning.splits import Split, split
from app.types import BoolArray, Float32Array, Json, Progress

WITHHELD_SHARE = 0.1
COLD_LIST, COLD_METRIC = 20, "cold_recall@20"
WHITENED_DIM = 128
TOWERS_ALONE = {"two_tower": 1.0}
TextControl = Callable[[Inputs, np.random.Generator], Float32Array]


@dataclass(frozen=True, slots=True)
class Variant:
    """Changes to TowerConfig, to TrainingConfig and to the item texts [N, T]. No change: the product's default."""

    group: str
    name: str
    towers: Mapping[str, object] = field(default_factory=dict)
    training: Mapping[str, object] = field(default_factory=dict)
    text: TextControl | None = None


def shuffled(inputs: Inputs, rng: np.random.Generator) -> Float32Array:
    """Every item speaks with another item's words."""
    has_text = np.flatnonzero(np.abs(inputs.text_NT).sum(1) > 0)
    text_NT = inputs.text_NT.copy()
    text_NT[has_text] = inputs.text_NT[rng.permutation(has_text)]
    return text_NT


def random_vectors(inputs: Inputs, rng: np.random.Generator) -> Float32Array:
    return _unit(rng.normal(size=inputs.text_NT.shape))


def whitened(inputs: Inputs, rng: np.random.Generator) -> Float32Array:
    """The first WHITENED_DIM principal components at equal variance, the rest zero."""
    centred_NT = inputs.text_NT - inputs.text_NT.mean(0)
    values, vectors = np.linalg.eigh(centred_NT.T @ centred_NT / len(centred_NT))
    kept = np.argsort(-values)[:WHITENED_DIM]
    white = centred_NT @ (vectors[:, kept] / np.sqrt(np.maximum(values[kept], 1e-8)))
    return _unit(_widened(white, inputs.text_NT.shape[1]))


def tf_idf(inputs: Inputs, rng: np.random.Generator) -> Float32Array:
    """Latent semantic analysis of the same texts: words without a language model."""
    from sklearn.decomposition import TruncatedSVD
    from sklearn.feature_extraction.text import TfidfVectorizer

    texts = [item_text(item) for item in items_of(inputs.item_frame)]
    counts = TfidfVectorizer(sublinear_tf=True, min_df=2).fit_transform(texts)
    width = inputs.text_NT.shape[1]
    reduced = TruncatedSVD(min(width, counts.shape[1] - 1), random_state=0).fit_transform(counts)
    return _unit(_widened(reduced, width))


TEXT = "text"
VARIANTS = (
    Variant(TEXT, "id", {"has_text": False, "has_gate": False, "id_dropout": 0.0}),
    Variant(TEXT, "text", {"has_id": False}),
    Variant(TEXT, "text + id", {"has_gate": False, "id_dropout": 0.0}),
    Variant(TEXT, "text + id + gate", {"id_dropout": 0.0}),
    Variant(TEXT, "text + id + gate + id dropout"),
    Variant(TEXT, "whitened texts", text=whitened),
    Variant(TEXT, "shuffled texts", text=shuffled),
    Variant(TEXT, "random vectors", text=random_vectors),
    Variant(TEXT, "TF-IDF vectors", text=tf_idf),
    Variant("loss", "BCE with one negative", training={"loss": "bce"}),
    Variant("loss", "in-batch", training={"loss": "in_batch", "logq_alpha": 0.0}),
    Variant("loss", "in-batch + logQ", training={"loss": "in_batch", "logq_alpha": 1.0}),
    Variant("loss", "in-batch + uniform + half logQ", training={"loss": "sampled"}),
    Variant("loss", "full softmax", training={"loss": "full"}),
    Variant("history", "mean", {"blocks": 0, "decays": (1.0,)}),
    Variant("history", "decayed means", {"blocks": 0}),
    Variant("history", "transformer", {"decays": ()}),
    Variant("history", "transformer + decayed means"),
)
FUSION, ALL = "fusion", "all"  # the fusion is ablated in `fusion_ablation`: nothing is trained again there
GROUPS = tuple(dict.fromkeys(variant.group for variant in VARIANTS))


def ablate(
    data: Interactions, inputs: Inputs, config: FitConfig, wanted: tuple[str, ...], progress: Progress
) -> dict[str, Json]:
    """{"withheld_items", "chance_recall@20", "rows": one per variant with "ndcg@10", "cold_recall@20" and the paired difference
    to the default}. wanted: groups, names of variants, or "all".
    Raises Invalid for an unknown one. A variant equal to the default is trained once."""
    check_wanted(wanted)
    rng = np.random.default_rng(config.training.seed)
    withheld_N = _withheld(data, rng)
    whole = split(data.where(~withheld_N[data.item_E]), config.protocol, config.repeats)
    cold = _cold_split(data, whole, withheld_N)
    chosen = [variant for variant in VARIANTS if {variant.group, variant.name, ALL} & set(wanted)]
    judged: dict[str, tuple[Judged, FloatArray]] = {}
    for done, variant in enumerate(chosen):
        progress("ablate", done / len(chosen), f"{variant.group}: {variant.name}")
        key = _key(variant)
        if key not in judged:
            judged[key] = _judge(variant, data, inputs, whole, cold, withheld_N, config, progress)
        of_known, cold_U = judged[key]
        found = (
            f"NDCG@10 {of_known.main:.4f}, Recall@20 of new items {float(np.mean(cold_U)) if len(cold_U) else 0.0:.4f}"
        )
        progress("ablate", (done + 1) / len(chosen), f"{variant.group}: {variant.name}: {found}")
    default = _key(Variant("", ""))
    if default not in judged:
        judged[default] = _judge(Variant("", ""), data, inputs, whole, cold, withheld_N, config, progress)
    rows: list[Json] = [_row(variant, *judged[_key(variant)], judged[default][0]) for variant in chosen]
    return {
        "withheld_items": int(withheld_N.sum()),
        "cold_users": len(cold.users),
        "chance_recall@20": COLD_LIST / max(1, int(withheld_N.sum())),
        "judged_users": len(whole.users),
        "rows": rows,
    }


def check_wanted(wanted: tuple[str, ...]) -> None:
    """Raises Invalid for a name that is neither a group nor a variant nor "all" or FUSION. To be asked before any data is read."""
    known = {*GROUPS, *(variant.name for variant in VARIANTS), FUSION, ALL}
    if unknown := set(wanted) - known:
        raise Invalid(
            f"nothing to ablate is called {min(unknown)!r}; there are: {', '.join(sorted(known))}",
            code="unknown_ablation",
        )


def _withheld(data: Interactions, rng: np.random.Generator) -> BoolArray:
    trained = np.flatnonzero(np.bincount(data.item_E, minlength=len(data.item_ids)) > 0)
    withheld_N = np.zeros(len(data.item_ids), np.bool_)
    withheld_N[rng.choice(trained, round(WITHHELD_SHARE * len(trained)), replace=False)] = True
    return withheld_N


def _cold_split(data: Interactions, whole: Split, withheld_N: BoolArray) -> Split:
    """The judged users with what they chose of the withheld items, at any time: those are no part of anyone's history."""
    users, targets = [], []
    for user in whole.users.tolist():
        events = data.of(user)
        chosen = np.unique(data.item_E[events][withheld_N[data.item_E[events]] & data.is_target_E[events]])
        if len(chosen):
            users.append(user)
            targets.append(chosen.astype(np.int64))
    now = dict(zip(whole.users.tolist(), whole.now, strict=True))
    scenarios = [np.zeros(len(wanted), np.int64) for wanted in targets]
    return Split(whole.train, np.asarray(users, np.int64), targets, scenarios, [now[user] for user in users], {})


def _judge(
    variant: Variant, data: Interactions, inputs: Inputs, whole: Split, cold: Split, withheld_N: BoolArray,
    config: FitConfig, progress: Progress,
) -> tuple[Judged, FloatArray]:  # fmt: skip
    """The variant's lists of known items, judged, and its Recall@20 [U] among the withheld."""
    rng = np.random.default_rng(config.training.seed)
    if variant.text is not None:
        inputs = replace(inputs, text_NT=variant.text(inputs, rng))
    training = replace(config.training, **variant.training)  # type: ignore[arg-type]
    config = replace(config, training=training, towers={**config.towers, **variant.towers})
    ranker = Ranker(fit_towers(whole.train, inputs, config, progress), data, inputs)
    known = judge(ranker.rank(whole, 50, config.repeats, TOWERS_ALONE), whole, inputs.text_NT)
    topk_UK = ranker.slates(cold, COLD_LIST, config.repeats, TOWERS_ALONE, candidates_N=withheld_N)[0]
    found_U = hits(topk_UK, cold.targets).sum(1)
    return known, found_U / np.asarray([len(wanted) for wanted in cold.targets])


def _key(variant: Variant) -> str:
    text = variant.text.__name__ if variant.text else ""
    training = {name: value for name, value in variant.training.items() if (name, value) != ("loss", "full")}
    return f"{sorted(variant.towers.items())}{sorted(training.items())}{text}"


def _row(variant: Variant, known: Judged, cold_U: FloatArray, default: Judged) -> dict[str, Json]:
    delta = difference(known, default)
    cold = intervals({COLD_METRIC: cold_U})
    return {
        "group": variant.group,
        "variant": variant.name,
        **{name: known.as_json()[name] for name in ("ndcg@10", "recall@50", "coverage@10")},
        COLD_METRIC: cold[COLD_METRIC].as_json(),
        "against_default": delta.as_json(),
    }


def _unit(vectors: np.ndarray) -> Float32Array:
    unit: Float32Array = (vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)).astype(
        np.float32
    )
    return unit


def _widened(vectors: np.ndarray, width: int) -> np.ndarray:
    return np.pad(vectors, ((0, 0), (0, width - vectors.shape[1])))
