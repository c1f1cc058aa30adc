"""What a differentially private training may spend: ε and δ of the user, and the noise that keeps within them (opacus).

Adding or removing all that one user did changes the chance of any outcome by a factor of at most e^ε, but for δ.
"""

from __future__ import annotations

import functools
import importlib.util
import math
import warnings
from dataclasses import dataclass

from app.errors import BadSettings

MAX_DELTA = 1e-5
MAX_SAMPLE_RATE, MAX_SAMPLED = 0.25, 1_024  # expected users of a step: large steps drown the noise best
STEPS = 200
MIN_USERS = 100  # below which no useful noise hides one of them


@dataclass(frozen=True, slots=True)
class Budget:
    """epsilon: what all steps together spend, by Rényi accounting; never more than was asked for. noise_multiplier: standard deviation
    of the noise over the clipping norm. sample_rate: chance of each user to be in a step, each drawn alone (Poisson)."""

    epsilon: float
    delta: float
    noise_multiplier: float
    sample_rate: float
    steps: int


def require_opacus() -> None:
    """Raises BadSettings where it is not installed."""
    if importlib.util.find_spec("opacus") is None:
        raise BadSettings(
            "differentially private training (DUOSCENE_DP_EPSILON, --dp-epsilon) needs opacus, which is not installed: "
            "pip install 'opacus>=1.5.4' (the extra `privacy`), or set the epsilon to 0"
        )


def budget_for(epsilon: float, num_users: int, epochs: int = 0) -> Budget:
    """Noise for a training of `num_users`. epochs: expected passes over them, at most; 0: as STEPS allow.

    Raises BadSettings when opacus is missing, when the users are too few or when no noise is enough.
    """
    require_opacus()
    if num_users < MIN_USERS:
        raise BadSettings(
            f"{num_users} users to train on: differentially private training needs {MIN_USERS} at least; "
            "set DUOSCENE_DP_EPSILON (--dp-epsilon) to 0 or wait for more users"
        )
    rate = min(MAX_SAMPLE_RATE, MAX_SAMPLED / num_users)
    steps = STEPS if not epochs else min(STEPS, math.ceil(epochs / rate))
    return _spend(epsilon, min(MAX_DELTA, 0.1 / num_users), rate, steps)


@functools.cache
def _spend(epsilon: float, delta: float, rate: float, steps: int) -> Budget:
    from opacus.accountants import RDPAccountant
    from opacus.accountants.utils import get_noise_multiplier

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of orders at the edge of those it tries: the bound is then only looser
        try:
            noise = get_noise_multiplier(
                target_epsilon=epsilon, target_delta=delta, sample_rate=rate, steps=steps, accountant="rdp"
            )
        except ValueError as error:
            raise BadSettings(
                f"no noise gives an epsilon of {epsilon:g} with a delta of {delta:g}: ask for a larger one, usual are 1 to 10"
            ) from error
        accountant = RDPAccountant()
        accountant.history = [(noise, rate, steps)]
        spent = float(accountant.get_epsilon(delta))
    return Budget(spent, delta, float(noise), rate, steps)
