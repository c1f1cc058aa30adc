"""`duoscene …`: one thin function a command. What a command needs is imported when it runs, so that --help is quick.

A mistake of the caller or of the surroundings is one line on stderr and exit code 2; only a fault of ours has a traceback.
"""

from __future__ import annotations

import errno
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from typer.core import TyperGroup

from app.console import show_error
from app.errors import BadData, DuosceneError
from app.learning.jobs import Activation, JobMode
from app.threads import all_cores, limit_threads

if TYPE_CHECKING:
    from app.settings import Settings


OF_THE_DISK = {
    errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.ENOTDIR, errno.EISDIR, errno.EEXIST,
}  # fmt: skip
IGNORED = {  # study of `evaluate` -> the options that do nothing there
    "--compare-scenarios": ("leave_scenario_out", "ablate", "models", "tuning_seconds", "html", "dump"),
    "--leave-scenario-out": ("ablate", "models", "tuning_seconds", "html", "dump"),
    "--ablate fusion": ("models", "seeds", "tuning_seconds", "dump"),
    "--ablate with parts of the towers": ("models", "seeds", "tuning_seconds", "dump", "max_users"),
}


class OneLineErrors(TyperGroup):
    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except DuosceneError as error:
            show_error(error.detail)
            raise typer.Exit(2) from error
        except OSError as error:
            if error.errno not in OF_THE_DISK:
                raise
            place = f"{error.filename}: " if error.filename else ""
            show_error(f"{place}{error.strerror}; check rights and free room, or name another place")
            raise typer.Exit(2) from error


app = typer.Typer(cls=OneLineErrors, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False,
                  help="Self-hosted, online, multi-scenario recommendations for storefronts.")  # fmt: skip
keys_app = typer.Typer(cls=OneLineErrors, no_args_is_help=True, help="API keys.")
app.add_typer(keys_app, name="keys")
bench_app = typer.Typer(cls=OneLineErrors, no_args_is_help=True, help="Speed, measured on this machine.")
app.add_typer(bench_app, name="bench")


@app.command()
def up(
    data_dir: Annotated[
        Path | None, typer.Option(help="Where everything is kept; default: DUOSCENE_DATA_DIR or ./data")
    ] = None,
    port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="0: any free port; default: DUOSCENE_PORT or 8000")
    ] = None,
    dataset: Annotated[
        str | None, typer.Option(help="'sample', or a folder or file to import at the first start")
    ] = None,
    workers: Annotated[int | None, typer.Option(min=1, max=64, help="API processes")] = None,
) -> None:
    """Everything in one process tree: stores, migrations, first data and training, worker, API."""
    settings = settings_with(data_dir=data_dir and data_dir.resolve(), port=port, workers=workers)
    from app.up import run_up

    run_up(settings, dataset)


@app.command()
def serve() -> None:
    """The API alone, at DUOSCENE_HOST and DUOSCENE_PORT, in DUOSCENE_WORKERS processes."""
    settings = settings_with()
    limit_threads(settings.num_threads, default=1)
    from app.serve import serve_api

    serve_api(settings)


@app.command()
def worker() -> None:
    """The background worker alone: retraining jobs, one after the other, and the upkeep of the database."""
    settings = settings_with()
    limit_threads(settings.num_threads, default=all_cores())
    from app.commands import run_worker

    run_worker(settings)


@app.command("import")
def import_(
    path: Annotated[Path, typer.Argument(help="A folder (duoscene layout, MovieLens) or a file")],
    format: Annotated[
        str, typer.Option(help="auto, duoscene, movielens, online-retail, csv, jsonl or parquet")
    ] = "auto",
    map: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FIELD=COLUMN",
            help="Where a field stands in a file, or FIELD==WORD: one word for all rows; repeat it",
        ),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only report what cleaning would do")] = False,
) -> None:
    """Items, users and events into the service; prints what was cleaned and why. Safe to repeat."""
    from app.commands import import_data

    import_data(settings_with(), path, format, parse_map(map or []), dry_run=dry_run)


@app.command()
def export(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="A folder that does not exist or is empty")],
) -> None:
    """Everything in the duoscene layout; an import of it gives the same service."""
    from app.commands import export_data

    export_data(settings_with(), directory)


@app.command()
def backup(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="A folder that does not exist or is empty")],
) -> None:
    """Database (scenarios, keys, jobs with it) and model artifacts, as of one moment; the service may run meanwhile."""
    from app.backup import make_backup

    make_backup(settings_with(), directory)


@app.command()
def restore(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="What `duoscene backup` wrote")],
    force: Annotated[bool, typer.Option("--force", help="Replace what the database holds")] = False,
) -> None:
    """A backup into an empty service, after a check of every file. Stop API and worker first."""
    from app.backup import restore_backup

    restore_backup(settings_with(), directory, force=force)


@app.command()
def train(
    mode: Annotated[JobMode, typer.Option(help="incremental starts from the live model")] = "full",
    activate: Annotated[Activation, typer.Option(help="auto: the gate decides")] = "auto",
) -> None:
    """One retraining run with progress."""
    settings = settings_with()
    limit_threads(settings.num_threads, default=all_cores())
    from app.commands import train as run

    if not run(settings, mode, activate):
        raise typer.Exit(1)


@app.command()
def evaluate(
    context: typer.Context,
    data: Annotated[Path, typer.Option(help="A data folder, or 'sample': the sample shop")],
    protocol: Annotated[Literal["temporal", "loo"], typer.Option(help="time split, or leave the last one out")],
    events: Annotated[str, typer.Option(help="Types to keep, e.g. purchase,click; all if not given")] = "",
    min_value: Annotated[float | None, typer.Option(help="Drop events of a smaller value, e.g. stars below 4")] = None,
    repeats: Annotated[
        Literal["exclude", "allow"], typer.Option(help="May an item the user already had be shown and wanted?")
    ] = "exclude",
    models: Annotated[str, typer.Option(help="Which to run, comma-separated; all if not given")] = "",
    max_users: Annotated[int | None, typer.Option(min=1, help="Judge at most so many users")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of training and of the sample of users")] = 0,
    seeds: Annotated[int, typer.Option(min=1, help="Fit ours and the stochastic peers so often; adds a sign test")] = 1,
    tuning_seconds: Annotated[
        float, typer.Option(min=0, help="No new configuration of a peer is begun after so long")
    ] = 1_800,
    epochs: Annotated[int, typer.Option(min=0, help="Most passes over the data; 0: by size")] = 0,
    ablate: Annotated[
        str,
        typer.Option(
            help="Instead: parts switched off in turn: fusion (sources, weights, ranker), of the towers text,loss,history, "
            "one variant by its name, or all"
        ),
    ] = "",
    compare_scenarios: Annotated[
        str,
        typer.Option(
            help="Instead: models by how they use the scenario; pooled,feature,weighted,separate,full,random or all"
        ),
    ] = "",
    leave_scenario_out: Annotated[
        str, typer.Option(help="Instead: serve scenarios by their words, trained without their events; names or all")
    ] = "",
    dp_epsilon: Annotated[
        float | None,
        typer.Option(min=0, help="Towers trained within this user-level epsilon; default: DUOSCENE_DP_EPSILON"),
    ] = None,
    json: Annotated[Path | None, typer.Option(help="Write the whole report here")] = None,
    html: Annotated[
        Path | None, typer.Option(help="Write a page with tables and plots here (one file, offline)")
    ] = None,
    dump: Annotated[Path | None, typer.Option(help="Write the top 20 of every user here (parquet)")] = None,
) -> None:
    """Train on a split's past, rank the whole catalogue, print the figures beside the peers'. Needs no database."""
    parts = names_in(ablate)
    refuse_ignored(
        context,
        "--compare-scenarios" if compare_scenarios
        else "--leave-scenario-out" if leave_scenario_out
        else "" if not parts
        else "--ablate fusion" if parts == ("fusion",)
        else "--ablate with parts of the towers",
    )  # fmt: skip
    settings = settings_with(dp_epsilon=dp_epsilon)
    limit_threads(settings.num_threads, default=all_cores())
    from app.evaluating import run_ablation, run_evaluation
    from app.learning.evaluation.evaluate import MODELS, EvaluateConfig
    from app.learning.training_config import TrainingConfig

    config = EvaluateConfig(
        protocol=protocol,
        repeats=repeats,
        events=names_in(events),
        min_value=min_value,
        models=names_in(models) or MODELS,
        max_users=max_users,
        seed=seed,
        num_seeds=seeds,
        tuning_seconds=tuning_seconds,
        training=TrainingConfig(epochs=epochs, dp_epsilon=settings.dp_epsilon),
    )
    if settings.dp_epsilon and (compare_scenarios or leave_scenario_out or set(parts) - {"fusion"}):
        raise BadData(
            "with a --dp-epsilon there are the plain evaluation and --ablate fusion: the other studies train without noise"
        )
    if compare_scenarios or leave_scenario_out:
        from app.studying import run_comparison, run_leave_out

        if compare_scenarios:
            run_comparison(
                settings, data, config, () if compare_scenarios == "all" else names_in(compare_scenarios), json
            )
        else:
            run_leave_out(settings, data, config, names_in(leave_scenario_out), json)
    elif parts:
        run_ablation(settings, data, config, parts, json, html)
    else:
        run_evaluation(settings, data, config, json, dump, html)


@keys_app.command("create")
def keys_create(
    scopes: Annotated[str, typer.Option(help="recommend,feedback,catalog,admin (admin implies all)")],
    name: Annotated[str, typer.Option(help="Who or what the key is for")] = "",
    rate_limit: Annotated[
        int | None, typer.Option(min=1, help="Requests a minute; default: DUOSCENE_RATE_LIMIT_PER_MINUTE")
    ] = None,
) -> None:
    """Make an API key and print it. It cannot be read again."""
    from app.commands import make_key

    make_key(settings_with(), name, [scope.strip() for scope in scopes.split(",") if scope.strip()], rate_limit)


@keys_app.command("list")
def keys_list() -> None:
    """All keys, oldest first; never the keys themselves."""
    from app.commands import list_keys

    list_keys(settings_with())


@keys_app.command("revoke")
def keys_revoke(key_id: Annotated[str, typer.Argument(metavar="ID")]) -> None:
    """Refuse a key from now on, in every API process within 2 seconds."""
    from app.commands import revoke_key

    revoke_key(settings_with(), key_id)


@bench_app.command("rank")
def bench_rank(
    runs: Annotated[int, typer.Option(min=200, help="Rankings of which the median is taken")] = 400,
    json: Annotated[Path | None, typer.Option(help="Write the figures there")] = None,
) -> None:
    """CPU milliseconds of ranking 400 candidates with all features, on one core. Exit code 1 above the bound."""
    limit_threads(1, default=1)
    from app.benching import run_bench_rank

    if not run_bench_rank(runs, json):
        raise typer.Exit(1)


@app.command()
def doctor(
    settings: Annotated[bool, typer.Option("--settings", help="List every setting, its value and its meaning")] = False,
    consistency: Annotated[
        bool, typer.Option("--consistency", help="Compare the live state in Redis with PostgreSQL, and repair it")
    ] = False,
) -> None:
    """Check settings, connections, model, index and disk; say what to do. Exit code 1 if something is broken."""
    from app.doctor import examine, examine_consistency, list_settings

    if settings:
        list_settings(settings_with())
    elif consistency:
        if not examine_consistency(settings_with()):
            raise typer.Exit(1)
    elif not examine(settings_with()):
        raise typer.Exit(1)


@bench_app.command("serve")
def bench_serve(
    rows: Annotated[str, typer.Option(help="Which of the table, comma-separated; all if not given")] = "",
    items: Annotated[
        int, typer.Option(min=1_000, max=1_000_000, help="Of the shop that all is compared with")
    ] = 10_000,
    users: Annotated[int, typer.Option(min=10, max=20_000, help="Shoppers with 50 events each")] = 1_000,
    sizes: Annotated[str, typer.Option(help="Items of the larger shops, rising, comma-separated")] = "100000,1000000",
    seconds: Annotated[float, typer.Option(min=1, help="Of one load")] = 10,
    rounds: Annotated[int, typer.Option(min=1, help="Reference and service in turn, so often; the median counts")] = 3,
    quick: Annotated[bool, typer.Option("--quick", help="Slates alone, in about a minute")] = False,
    json: Annotated[Path | None, typer.Option(help="Write the whole report here")] = None,
    folder: Annotated[Path | None, typer.Option(help="For the data meanwhile; default: the temporary folder")] = None,
) -> None:
    """What serving costs: its own stores, a synthetic shop, wrk for the load; nothing of yours is touched."""
    limit_threads(settings_with().num_threads, default=all_cores())
    from app.benchmarks.bench import ServeConfig
    from app.benchmarks.serve import QUICK, run_serve
    from app.benchmarks.slates import Plan

    larger = numbers_in("--sizes", sizes)
    if quick:
        config = ServeConfig(items, min(users, 200), larger, QUICK, Plan(seconds=min(seconds, 4), rounds=1), folder)
    else:
        config = ServeConfig(items, users, larger, names_in(rows), Plan(seconds=seconds, rounds=rounds), folder)
    run_serve(config, json)


@bench_app.command("scaling")
def bench_scaling(
    sizes: Annotated[str, typer.Option(help="Items, rising, comma-separated")] = "1000,10000,100000,1000000",
    concurrency: Annotated[str, typer.Option(help="Callers at once, comma-separated")] = "1,4,16,64,256",
    users: Annotated[int, typer.Option(min=10, max=20_000, help="Shoppers with 50 events each")] = 500,
    seconds: Annotated[float, typer.Option(min=1, help="Of one load")] = 10,
    json: Annotated[Path | None, typer.Option(help="Write the points here")] = None,
    plot: Annotated[Path | None, typer.Option(help="Draw them here (PNG)")] = None,
    folder: Annotated[Path | None, typer.Option(help="For the data meanwhile; default: the temporary folder")] = None,
) -> None:
    """Rate and p99 of slates against the size of the catalogue and the callers at once, as `bench serve` measures."""
    limit_threads(settings_with().num_threads, default=all_cores())
    from app.benchmarks.bench import ServeConfig
    from app.benchmarks.scaling import run_scaling
    from app.benchmarks.slates import Plan

    config = ServeConfig(users=users, sizes=numbers_in("--sizes", sizes), plan=Plan(seconds, rounds=1), folder=folder)
    run_scaling(config, numbers_in("--concurrency", concurrency), json, plot)


def names_in(text: str) -> tuple[str, ...]:
    """The names of a comma-separated option, in the order given, each once."""
    return tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))


def refuse_ignored(context: typer.Context, study: str) -> None:
    """study: a key of IGNORED, or nothing. Raises BadData for an option given that does nothing there."""
    for name in IGNORED.get(study, ()):
        source = context.get_parameter_source(name)
        if source is not None and source.name == "COMMANDLINE":
            raise BadData(f"--{name.replace('_', '-')} does nothing with {study}: leave one of them out")


def numbers_in(option: str, text: str) -> tuple[int, ...]:
    """Rising. Raises BadData."""
    names = names_in(text)
    if not names or not all(name.isdecimal() and int(name) > 0 for name in names):
        raise BadData(f"{option} {text}: expected whole numbers above 0, for example 1000,10000")
    return tuple(sorted(map(int, names)))


def parse_map(pairs: list[str]) -> dict[str, str]:
    mapping = {}
    for pair in pairs:
        field, equals, column = pair.partition("=")
        if not (field and equals and column):
            raise BadData(f"--map {pair}: expected FIELD=COLUMN, for example --map user_id=customer")
        mapping[field] = column
    return mapping


def settings_with(**options: object) -> Settings:
    """Settings of the environment and of the options given; both are checked alike."""
    from app.settings import load_settings

    return load_settings(**{name: value for name, value in options.items() if value is not None})


if __name__ == "__main__":
    app()
