"""Settings come from the environment only (prefix DUOSCENE_) and are checked once, at start."""

from __future__ import annotations

import difflib
import os
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, FiniteFloat, SecretStr, ValidationError
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, SettingsConfigDict, SettingsError

from app.errors import BadSettings

PREFIX = "DUOSCENE_"


class Settings(BaseSettings):
    """Every field is the variable DUOSCENE_<FIELD IN CAPITALS>; its description is the README's table. An empty one is not set."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, env_ignore_empty=True, extra="ignore", frozen=True)

    data_dir: Path = Field(Path("data"), description="Embedded stores, artifacts, checkpoints, import rejects")
    database_url: str | None = Field(None, description="postgresql://…; empty: an embedded PostgreSQL is started")
    redis_url: str | None = Field(None, description="redis://…; empty: an embedded Redis is started")
    artifact_url: str | None = Field(
        None, description="Where model versions are kept (any fsspec URL); empty: DATA_DIR/models"
    )
    host: str = Field("127.0.0.1", description="Address the API listens on")
    port: int = Field(8000, ge=0, le=65535, description="Port the API listens on")
    workers: int = Field(1, ge=1, le=64, description="API processes")
    admin_key: SecretStr | None = Field(
        None, min_length=16, description="An admin key given from outside; empty: only keys in the database"
    )
    key_pepper: SecretStr | None = Field(
        None,
        min_length=16,
        description="Mixed into the stored hash of every key; setting or changing it makes all keys in the database invalid",
    )
    rate_limit_per_minute: int = Field(
        0, ge=0, description="Requests a key may make in a minute, unless it has a rate of its own; 0: any number"
    )
    metrics_need_key: bool = Field(False, description="GET /metrics needs a key with the scope admin")
    encoder: str = Field(
        "default",
        description="'default' (all-MiniLM-L6-v2, ships with the install) or any sentence-transformers model name or path",
    )
    encoder_dtype: Literal["bfloat16", "float32"] = Field(
        "bfloat16",
        description="Number format of the encoder; bfloat16 is float32 where the processor does not multiply it",
    )
    num_threads: int = Field(
        0,
        ge=0,
        le=256,
        description="Threads of torch, FAISS and BLAS per process; 0: 1 for the API, all cores for training",
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field("INFO", description="Lowest level logged")
    log_format: Literal["json", "console"] = Field("console", description="One JSON object a line, or lines for people")
    event_types: dict[str, FiniteFloat] = Field(
        default_factory=dict, description='Further event types and their training weights, as JSON: {"bookmark": 1.5}'
    )
    max_pending_events: int = Field(50_000, ge=1_000, description="Events waiting for their group commit before 503")
    max_bridged_events: int = Field(
        200_000, ge=0, description="Events kept in Redis while PostgreSQL is away before 503; 0: none"
    )
    pseudonym_secret: SecretStr | None = Field(
        None,
        min_length=16,
        description="Stores see pseudonyms in place of user and session ids; changing it makes all of them strangers; empty: ids as they are",
    )
    profile_keys: SecretStr | None = Field(
        None,
        description="Fernet keys that profile texts are encrypted with, separated by commas, the newest first; empty: texts as they are",
    )
    event_retention_days: int = Field(0, ge=0, le=36_500, description="Events are kept so many days; 0: for ever")
    impression_retention_days: int = Field(
        0, ge=0, le=36_500, description="Impressions are kept so many days; 0: for ever"
    )
    retrain_epochs: int = Field(
        0, ge=0, le=1000, description="Most passes over the data in one training; 0: chosen by size"
    )
    dp_epsilon: float = Field(
        0.0,
        ge=0,
        allow_inf_nan=False,
        description="User-level epsilon that each training of the towers may spend (needs the extra `privacy`); 0: trained without noise",
    )
    seed: int = Field(20_260_101, description="Seed of training and of the sample shop")

    def pepper(self) -> str:
        return self.key_pepper.get_secret_value() if self.key_pepper else ""

    def profile_key_list(self) -> list[str]:
        given = self.profile_keys.get_secret_value() if self.profile_keys else ""
        return [key.strip() for key in given.split(",") if key.strip()]

    def models_url(self) -> str:
        return self.artifact_url or str(self.data_dir.resolve() / "models")


def load_settings(**options: Any) -> Settings:
    """Settings from the environment; options of the command line come before it.

    Raises BadSettings for a value that does not fit and for a variable with our prefix that no field has.
    """
    known = {PREFIX + name.upper() for name in Settings.model_fields}
    for name in os.environ:
        if name.upper().startswith(PREFIX) and name.upper() not in known:
            close = difflib.get_close_matches(name.upper(), known, n=1)
            hint = f"; did you mean {close[0]}?" if close else "; 'duoscene doctor --settings' lists all"
            raise BadSettings(f"unknown setting {name}{hint}")
    try:
        return Settings(**options)
    except ValidationError as error:
        raise BadSettings("; ".join(map(_describe, error.errors()))) from error
    except SettingsError as error:  # a value that should be JSON and is not
        raise BadSettings(f"{error}; expected JSON") from error


def put_into_environment(settings: Settings, *names: str) -> None:
    """For child processes, which read their settings from there like every process."""
    for name in names:
        os.environ[PREFIX + name.upper()] = str(getattr(settings, name))


def _describe(error: ErrorDetails) -> str:
    field = str(error["loc"][0])
    is_secret = "Secret" in str(Settings.model_fields[field].annotation)
    given = "" if is_secret else f", not {error['input']!r}"
    return f"{PREFIX}{field.upper()} does not fit: {error['msg']}{given}"
