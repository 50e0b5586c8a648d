from pathlib import Path

import pytest

from compfeat.media import seeking, sources

SHARED = Path(__file__).parents[2] / "shared" / "data"


@pytest.fixture(autouse=True)
def no_account(monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "offline")


@pytest.fixture(autouse=True)
def cache_of_its_own(monkeypatch, tmp_path_factory):
    """The indices of annotations that a test makes, away from the user's."""
    cache = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("COMPFEAT_CACHE", str(cache))
    return cache


@pytest.fixture
def shared_data():
    """The folder of real footage, which is not part of the repository."""
    if not SHARED.is_dir():
        pytest.skip("no folder of real footage")
    return SHARED


@pytest.fixture
def decoded(monkeypatch):
    """Counts the frames that are decoded, in its only entry."""
    count = [0]
    plainly = seeking.decode

    def counting(packets):
        for frame in plainly(packets):
            count[0] += 1
            yield frame

    for module in (seeking, sources):
        monkeypatch.setattr(module, "decode", counting)
    return count
