"""User towers of single scenarios, as small differences to the shared one: the item vectors, and so the index, stay the same."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path

import orjson
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from app.model.user_tower import UserTower

FILE = "separate.safetensors"
SHARED_PART = "scenario."  # the scenario vectors are made by the shared tower and never differ
Delta = Mapping[str, Tensor]


def difference(base: UserTower, tuned: UserTower) -> dict[str, Tensor]:
    """What to add to the parameters of `base`, float16: half the size, and far finer than a step of training."""
    before = dict(base.named_parameters())
    return {
        name: (parameter.detach() - before[name].detach()).to(torch.float16)
        for name, parameter in tuned.named_parameters()
        if not name.startswith(SHARED_PART)
    }


def applied(base: UserTower, delta: Delta) -> UserTower:
    """A copy of `base` with the difference added. KeyError when it belongs to another shape of tower."""
    tower = copy.deepcopy(base)
    parameters = dict(tower.named_parameters())
    with torch.no_grad():
        for name, values in delta.items():
            parameters[name].add_(values.to(parameters[name].dtype))
    return tower.eval()


def save(deltas: Mapping[str, Delta], directory: Path) -> None:
    """One file for all; none when there is nothing to keep."""
    if deltas:
        tensors = {f"{place}/{name}": tensor for place, d in enumerate(deltas.values()) for name, tensor in d.items()}
        save_file(tensors, str(directory / FILE), {"scenarios": orjson.dumps(list(deltas)).decode()})


def load(directory: Path) -> dict[str, Delta]:
    """Scenario name -> difference."""
    path = directory / FILE
    if not path.exists():
        return {}
    with safe_open(str(path), "pt") as file:
        names = orjson.loads(file.metadata()["scenarios"])
        deltas: dict[str, dict[str, Tensor]] = {name: {} for name in names}
        for key in file.keys():  # noqa: SIM118  not a mapping
            place, _, name = key.partition("/")
            deltas[names[int(place)]][name] = file.get_tensor(key)
    return dict(deltas)
