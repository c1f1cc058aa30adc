"""Both towers and the temperature between them: what is trained, saved and loaded."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import nn

from app.model.config import TowerConfig
from app.model.item_tower import ItemTower
from app.model.user_tower import UserTower

MIN_TEMPERATURE, MAX_TEMPERATURE = 0.03, 0.3


class Towers(nn.Module):
    def __init__(self, config: TowerConfig) -> None:
        super().__init__()
        self.config = config
        self.item = ItemTower(config)
        self.user = UserTower(config)
        self.log_temperature = nn.Parameter(torch.tensor(0.1).log())

    @property
    def temperature(self) -> torch.Tensor:
        return self.log_temperature.exp().clamp(MIN_TEMPERATURE, MAX_TEMPERATURE)

    def save(self, directory: Path) -> None:
        save_file(self.state_dict(), str(directory / "towers.safetensors"))
        (directory / "towers.json").write_text(json.dumps(asdict(self.config), indent=1))

    @classmethod
    def load(cls, directory: Path) -> Towers:
        config = json.loads((directory / "towers.json").read_text())
        towers = cls(TowerConfig(**config | {"decays": tuple(config["decays"])}))
        towers.load_state_dict(load_file(str(directory / "towers.safetensors")))
        return towers.eval()
