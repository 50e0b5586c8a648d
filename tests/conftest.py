from pathlib import Path

import pytest

SHARED = Path(__file__).parents[2] / "shared" / "data"


@pytest.fixture(autouse=True)
def no_account(monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "offline")


@pytest.fixture
def shared_data():
    """The folder of real footage, which is not part of the repository."""
    if not SHARED.is_dir():
        pytest.skip("no folder of real footage")
    return SHARED
