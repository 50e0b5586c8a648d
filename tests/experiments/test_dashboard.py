"""What happens to a run when Weights & Biases fails; what it is told is in tests/commands/test_sweeps.py."""

import pytest
import wandb

from compfeat.experiments.dashboard import Dashboard, told
from compfeat.experiments.record import Run

RUN = Run(name="baseline", seed=0, config={})


def test_a_dashboard_that_cannot_be_opened_is_told_once_and_costs_nothing(tmp_path, monkeypatch, caplog):
    def unreachable(**_):
        raise wandb.errors.CommError("nobody there")

    monkeypatch.setattr(wandb, "init", unreachable)
    with told(RUN, [Dashboard(str(tmp_path), "project", "name")]) as (dashboard,):
        dashboard.log_metrics({"train/loss": 1.0}, 1)
        dashboard.log_metrics({"train/loss": 1.0}, 2)
    assert [record.message for record in caplog.records if "nobody there" in record.message] != []
    assert len(caplog.records) == 1


def test_a_dashboard_that_is_lost_halfway_is_told_once_and_costs_nothing(tmp_path, monkeypatch, caplog):
    monkeypatch.setenv("WANDB_MODE", "offline")

    with told(RUN, [Dashboard(str(tmp_path), "project", "name")]) as (dashboard,):
        dashboard.log_metrics({"train/loss": 1.0}, 1)

        def lost(*_, **__):
            raise ConnectionError("gone")

        monkeypatch.setattr(wandb.Run, "log", lost)
        dashboard.log_metrics({"train/loss": 1.0}, 2)
        dashboard.log_metrics({"train/loss": 1.0}, 3)
    assert [record.message for record in caplog.records if "compfeat" in record.name] == [
        "Weights & Biases: logging failed and is off for the rest of this run: gone"
    ]


def test_a_page_of_nothing_is_not_opened(tmp_path, monkeypatch):
    monkeypatch.setattr(wandb, "init", lambda **_: pytest.fail("opened"))
    with told(RUN, [Dashboard(str(tmp_path), "project", "name")]):
        pass
    assert Dashboard.of(RUN, tmp_path) is None
