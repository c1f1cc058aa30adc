"""One shop, from `duoscene up` to a restart, over HTTP. The tests are one story and run in this order."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from app.catalogue.sample_shop import generate_sample_shop
from app.catalogue.writer import write_shop_data
from app.types import utc_now
from tests.e2e.service import REPOSITORY, Load, Shop, Up, wait_for

NUM_USERS = 100
FAST = {"DUOSCENE_RETRAIN_EPOCHS": "1"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("e2e")


@pytest.fixture(scope="module")
def dataset(folder: Path) -> Path:
    """MovieLens-100K as its owner ships it, cut down so that a training takes seconds; a small sample shop where it is missing."""
    raw = REPOSITORY.parent / "shared" / "data" / "ml-100k" / "raw"
    part = folder / "dataset"
    if not raw.exists():
        write_shop_data(generate_sample_shop(1, num_items=400, num_users=500, until=utc_now()).data, part)
        return part
    part.mkdir()
    for name in ("u.item", "u.genre", "u.occupation", "u.info"):
        shutil.copyfile(raw / name, part / name)
    for name, split in (("u.user", "|"), ("u.data", "\t")):
        lines = (raw / name).read_text(encoding="latin-1").splitlines(keepends=True)
        kept = [line for line in lines if int(line.partition(split)[0]) <= NUM_USERS]
        (part / name).write_text("".join(kept), encoding="latin-1")
    return part


@pytest.fixture(scope="module")
def up(folder: Path, dataset: Path) -> Iterator[Up]:
    up = Up(folder / "data", "--port", "0", "--dataset", str(dataset), **FAST)
    yield up
    up.stop()


@pytest.fixture(scope="module")
def key(up: Up) -> str:
    return up.line_with("Admin key").rpartition(" ")[2]


@pytest.fixture(scope="module")
def shop(up: Up, key: str) -> Shop:
    address = up.line_with("Duoscene answers at").split()[3]
    return Shop(address, key)


@pytest.fixture(scope="module")
def users(shop: Shop) -> list[str]:
    return [user["user_id"] for user in shop.call("GET", "/v1/users?limit=50")["users"]]


def test_the_printed_curl_works(up: Up, shop: Shop) -> None:
    command = shlex.split(up.line_with("curl "))
    if shutil.which("curl"):
        answer = subprocess.run([*command, "--silent", "--noproxy", "*"], capture_output=True, text=True, check=True)
        assert '"items":[{' in answer.stdout.replace(" ", "")
    assert shop.http.get(command[-1], headers={"Authorization": command[2].partition(": ")[2]}).status_code == 200


def test_events_change_the_next_slate_and_a_purchase_leaves_it(shop: Shop) -> None:
    user = {"user_id": "newcomer", "n": 20}
    before = shop.items(**user)
    assert len(before) == 20
    for item_id in before[5:8]:
        shop.send("click", "newcomer", item_id, scenario="home")
    clicked = shop.items(**user)
    assert clicked != before
    bought = clicked[0]
    shop.send("purchase", "newcomer", bought, value=9.5, scenario="home")
    assert bought not in shop.items(**user)
    assert bought not in shop.items(scenario="search", **user)


def test_a_new_item_is_found_by_its_text_within_five_seconds(shop: Shop, users: list[str]) -> None:
    """Two new items, asked for by the towers alone: the one that reads like the viewed item comes first."""
    viewed = shop.items(user_id=users[0], n=1)[0]
    described = shop.call("GET", f"/v1/items/{viewed}")
    words = {name: described[name] for name in ("title", "description", "category", "brand")}
    shop.call("PUT", "/v1/scenarios/by-text", {"description": "More like this", "sources": {"two_tower": 1.0}})
    shop.call("PUT", "/v1/items/twin", {**words, "tags": [*described["tags"], "just-posted"]})
    shop.call(
        "PUT", "/v1/items/hose", {"title": "Garden hose, 20 metres", "category": ["Garden"], "tags": ["just-posted"]}
    )
    only = {"field": "tags", "contains": "just-posted"}

    def found() -> list[str]:
        slate = shop.recommend(scenario="by-text", context_items=[viewed], filter=only, n=5)["items"]
        return [item["item_id"] for item in slate if item["sources"] == ["two_tower"] and item["cold"]]

    wait_for(lambda: found() == ["twin", "hose"], 5.0)


def test_a_retraining_under_load_swaps_without_a_failed_request_and_can_be_rolled_back(
    shop: Shop, users: list[str]
) -> None:
    before = shop.live_version()
    with Load(shop, users) as load:
        job = shop.wait_for_job(shop.retrain())
        after = job["model_version"]
        assert job["state"] in ("succeeded", "rejected_by_gate"), job
        if (
            job["state"] == "rejected_by_gate"
        ):  # two epochs on a small shop may draw a worse model: then put it live by hand
            shop.call("POST", f"/v1/admin/models/{after}/activate", {"force": True})
        wait_for(lambda: load.versions[-1] == after, 5.0)
        shop.call("POST", "/v1/admin/models/rollback")
        wait_for(lambda: load.versions[-1] == before, 5.0)
    assert set(load.statuses) == {200}
    assert load.empty == 0
    assert set(load.versions) == {before, after}
    assert len(load.statuses) > 100


def test_a_cancelled_retraining_leaves_the_live_model(shop: Shop) -> None:
    before = shop.live_version()
    job_id = shop.retrain()
    shop.wait_for_job(job_id, "running")
    shop.call("POST", f"/v1/admin/jobs/{job_id}/cancel")
    assert shop.wait_for_job(job_id)["state"] == "cancelled"
    assert shop.live_version() == before


def test_a_worker_killed_in_mid_training_fails_its_job_and_the_next_one_works(up: Up, shop: Shop) -> None:
    before = shop.live_version()
    job_id = shop.retrain()
    wait_for(lambda: shop.job(job_id)["progress"] > 0, 60.0)
    os.kill(up.child("worker"), signal.SIGKILL)
    up.line_with("worker ended (signal SIGKILL)", 10.0)
    assert shop.live_version() == before
    lost = shop.wait_for_job(job_id, seconds=40.0)
    assert (lost["state"], lost["error"]) == ("failed", "worker lost")
    next_one = shop.wait_for_job(shop.retrain())
    assert next_one["state"] in ("succeeded", "rejected_by_gate")


def test_a_killed_api_process_comes_back(up: Up, shop: Shop, users: list[str]) -> None:
    os.kill(up.child("serve"), signal.SIGKILL)
    up.line_with("serve ended (signal SIGKILL)", 10.0)

    def answers() -> bool:
        try:
            return shop.http.get("/readyz").status_code == 200
        except httpx.TransportError:
            return False

    wait_for(answers, 60.0)
    assert shop.items(user_id=users[0], n=5)


def test_a_hangup_replaces_the_api_process_without_a_failed_request(up: Up, shop: Shop, users: list[str]) -> None:
    with Load(shop, users) as load:
        up.signal(signal.SIGHUP)
        up.line_with("API processes are new", 120.0)
    assert set(load.statuses) == {200}
    assert load.empty == 0


def test_a_second_up_is_refused_with_a_reason(folder: Path, shop: Shop) -> None:
    same_folder = Up(folder / "data", "--port", "0")
    assert same_folder.wait() == 2
    assert "another `duoscene up`" in same_folder.output()
    same_port = Up(folder / "other", "--port", shop.address.rpartition(":")[2])
    assert same_port.wait() == 2
    assert "choose another port with --port" in same_port.output()
    assert not (folder / "other" / "postgres").exists()


def test_a_restart_goes_on_where_it_was(up: Up, shop: Shop, folder: Path) -> None:
    version = shop.live_version()
    seen = shop.items(user_id="newcomer", n=20)
    assert up.stop(signal.SIGINT) == 0
    assert up.lines[-1] == "Stopped."
    began = time.monotonic()
    again = Up(folder / "data", "--port", "0", **FAST)
    try:
        address = again.line_with("Duoscene answers at", 60.0).split()[3]
        seconds = time.monotonic() - began
        second = Shop(address, shop.http.headers["Authorization"].removeprefix("Bearer "))
        assert second.live_version() == version
        now = second.items(user_id="newcomer", n=20)  # events are older now, so near equals may change places
        assert len(set(now) & set(seen)) >= 15
        assert len(set(now) & set(second.items(user_id="a stranger", n=20))) < 15
        assert not any("Imported" in line or "Admin key" in line for line in again.lines)
        print(f"\na second `up` answers after {seconds:.1f} s")
    finally:
        assert again.stop() == 0
