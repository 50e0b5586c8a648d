"""Sweeps over the rows of a table: what is finished, interrupted, changed or broken."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest
import yaml
from composed import composed
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.types import RunMode
from made_up_runs import write_run
from offline_pages import pages
from omegaconf import OmegaConf
from shell import ROOT, command

from compfeat.commands.launch import CONF
from compfeat.commands.resolvers import changed
from compfeat.commands.sweep_summary import SweepSummary
from compfeat.experiments.record import Run
from compfeat.experiments.tables import paper_tables
from compfeat.models.weights import digest

TINY = [
    "data.generator.train_videos=4",
    "data.generator.valid_videos=1",
    "data.generator.test_videos=2",
    "data.generator.length=4",
    "data.batch_size=2",
    "data.sampler.support_frames=1",
    "trainer.accelerator=cpu",
    "callbacks.progress=null",
]
DETECTOR = " ".join(["recipe=demo_detector", *TINY, "trainer.max_epochs=1", "callbacks.overlays=null"])


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


def line(folder, *arguments):
    """A sweep whose rows start from a detector that it makes itself."""
    start = [f"weights_from.path={folder}/detector/checkpoints/last.ckpt", f"weights_from.overrides='{DETECTOR}'"]
    return ["sweep=table3", *TINY, *start, f"hydra.sweep.dir={folder}/rows", "seed=0", *arguments]


def runs(folder):
    return {path.parent.name: Run.read(path.parent) for path in sorted((folder / "rows").glob("*/run.json"))}


def test_a_sweep_that_was_killed_and_has_a_bad_row_finishes_when_it_is_typed_again(cache, tmp_path):
    arguments = line(
        tmp_path, "experiment=baseline,correlation", "trainer.max_epochs=20", "trainer.log_every_n_steps=1"
    )
    environment = os.environ | {"COMPFEAT_CACHE": str(cache), "OMP_NUM_THREADS": "1"}
    script = [sys.executable, str(ROOT / "train.py"), *arguments]
    killed = subprocess.Popen(script, cwd=ROOT, env=environment, start_new_session=True, stderr=subprocess.PIPE)
    deadline = time.monotonic() + 240
    while not ("baseline-0" in (found := runs(tmp_path)) and found["baseline-0"].steps > 2):
        assert killed.poll() is None and time.monotonic() < deadline, killed.stderr.read().decode()
        time.sleep(0.2)
    os.killpg(killed.pid, signal.SIGKILL)
    killed.communicate()
    before = runs(tmp_path)
    assert set(before) == {"baseline-0"} and before["baseline-0"].status == "running"
    assert Run.read(tmp_path / "detector").status == "finished"

    command("train.py", *arguments, cache=cache)
    after = runs(tmp_path)
    assert {name: (run.status, run.steps) for name, run in after.items()} == {
        "baseline-0": ("finished", 40),
        "correlation-0": ("finished", 40),
    }
    assert after["baseline-0"].began == before["baseline-0"].began
    steps = [path.name for path in sorted((tmp_path / "rows/baseline-0").glob("metrics*.csv"))]
    assert steps[-1] == "metrics.csv" and len(steps) == 2  # what was logged before the kill is still there
    for name in after:
        assert json.loads((tmp_path / "rows" / name / "scores/metrics.json").read_text())["AP"] >= 0
        assert "overall" in json.loads((tmp_path / "rows" / name / "scores/breakdown.json").read_text())

    again = command("train.py", *arguments, cache=cache)
    assert again.stdout.count("trained before") == 2
    assert runs(tmp_path) == after


def test_a_bad_row_stops_no_other_and_all_of_them_have_pages_of_their_own(cache, tmp_path):
    budget = ["trainer.max_epochs=1", "trainer.log_every_n_steps=1", "callbacks.overlays.videos=1"]
    arguments = line(tmp_path, "experiment=correlation,baseline", *budget, "logger=wandb", "weights=null")
    in_the_way = tmp_path / "rows/correlation-0/checkpoints"
    in_the_way.parent.mkdir(parents=True)
    in_the_way.touch()
    done = command("train.py", *arguments, cache=cache, code=2)
    assert "1 job failed:\n  correlation-0: " in done.stderr
    found = runs(tmp_path)
    assert {name: run.status for name, run in found.items()} == {"correlation-0": "failed", "baseline-0": "finished"}
    assert "checkpoints" in found["correlation-0"].error
    assert {page.name: page.exit_code for page in pages(tmp_path)} == {"correlation-0": 1, "baseline-0": 0}

    in_the_way.unlink()
    command("train.py", *arguments, cache=cache)
    found = runs(tmp_path)
    assert [(run.status, run.error) for run in found.values()] == [("finished", None)] * 2

    kept = {page.name: page for page in pages(tmp_path)}
    assert {name: page.id for name, page in kept.items()} == {name: run.id for name, run in found.items()}
    for name, page in kept.items():
        run = found[name]
        assert (page.exit_code, page.group, page.job_type) == (0, "table3", "train")
        assert page.tags == ["shapes_ablation", run.name]
        assert page.config["model"] == run.config["model"] and page.config["run"]["commit"] == run.commit
        assert page.config["run"]["data"] == run.data and page.config["run"]["parameters"] == run.parameters
        measured = json.loads((tmp_path / "rows" / name / "scores/metrics.json").read_text())
        assert page.summary["scores/AP"] == measured["AP"] and page.summary["val/AP"] == {"max": run.best}
        assert {"train/loss", "train/images_seen", "scores/classes/nrows", "scores/errors/nrows"} <= page.logged
        assert any(file.startswith("media/videos/val/") and file.endswith(".mp4") for file in page.files)
    heads = [page.config["model"]["detector"]["track_head"] for page in kept.values()]
    assert heads[0] != heads[1]

    done = command("train.py", *arguments, "module.loss_weights.loss_mask=0.1", cache=cache, code=2)
    assert done.stderr.count("module.loss_weights.loss_mask was 16.0 and is 0.1") == 4  # then, and at the end
    assert runs(tmp_path) == found

    ckpt = tmp_path / "rows/baseline-0/checkpoints/last.ckpt"
    small = [argument for argument in TINY if argument.startswith("data.gen")]
    way = ["tracker=cues", f"output={tmp_path}/cues"]
    command("scripts/evaluate.py", f"ckpt={ckpt}", "data=shapes_ablation", *small, *way, cache=cache)
    added = pages(tmp_path)[-1]
    (told,) = [name for name in added.summary if name.endswith("/AP") and name not in pages(tmp_path)[0].summary]
    assert added.id == found["baseline-0"].id and told.startswith("shapes_ablation-valid+")  # and what was given


def test_rows_of_a_sweep_that_only_checks_do_not_share_a_folder(cache, tmp_path):
    rows = [
        "sweep=table3",
        "experiment=baseline,correlation",
        "seed=0",
        "weights=null",
        f"hydra.sweep.dir={tmp_path}/rows",
    ]
    command("train.py", *rows, "debug=smoke", "trainer.accelerator=cpu", "callbacks.progress=null", cache=cache)
    assert {name: run.status for name, run in runs(tmp_path).items()} == dict.fromkeys(
        ("baseline-0", "correlation-0"), "finished"
    )


def test_rows_start_from_no_other_network_than_they_say(cache, tmp_path):
    arguments = line(tmp_path, "experiment=baseline", "hydra.mode=RUN")
    ckpt = tmp_path / "detector/checkpoints/last.ckpt"
    misspelt = command("train.py", *arguments, f"weights={ckpt.with_name('lats.ckpt')}", cache=cache, code=2)
    assert "no weights at" in misspelt.stderr and not ckpt.parent.parent.exists()

    trial = Run(name="detector", seed=0, config={"trainer": {"max_epochs": 9}}, status="finished", weights="")
    trial.write(ckpt.parent.parent)
    ckpt.parent.mkdir()
    ckpt.touch()
    refused = command("train.py", *arguments, "rerun=true", cache=cache, code=2)
    assert "detector holds another run" in refused.stderr and "weights_from=null" in refused.stderr


@pytest.mark.parametrize(
    "launcher", [["hydra/launcher=joblib", "hydra.launcher.n_jobs=2"], ["hydra/launcher=submitit_local"]]
)
def test_jobs_run_in_processes_of_their_own(launcher, cache, tmp_path):
    arguments = line(tmp_path, "experiment=baseline", "trainer.max_epochs=1", "callbacks.overlays=null", *launcher)
    bad = "data.sampler.mode=random,foo"
    done = command(
        "train.py", *arguments, "weights=null", bad, "hydra.sweep.subdir=${hydra.job.num}", cache=cache, code=2
    )
    assert "1 job failed:" in done.stderr and "should be 'random' or 'uniform'" in done.stderr
    assert {name: run.status for name, run in runs(tmp_path).items()} == {"0": "finished"}
    assert "baseline-0" in done.stdout  # the summary at the end


def test_a_row_by_itself_lands_where_its_sweep_would_put_it(cache, tmp_path):
    arguments = line(tmp_path, "trainer.max_epochs=1", "callbacks.overlays=null", "weights=null")
    command("train.py", *arguments, "experiment=baseline", "hydra.mode=RUN", cache=cache)
    again = command("train.py", *arguments, "experiment=baseline", cache=cache)
    assert "baseline-0: trained before" in again.stdout


@pytest.mark.parametrize(
    ("overrides", "name"),
    [
        ([], "shapes"),
        (
            ["trainer.precision=bf16-mixed", "trainer.max_epochs=32"],
            "shapes+trainer.max_epochs-32+trainer.precision-bf16-mixed",
        ),
        (["data.size=[192,108]"], "shapes+data.size-_192_108_"),
        (["module.optimizer.lr=1e-3", "~module.scheduler"], "shapes+module.optimizer.lr-0.001+_module.scheduler"),
        (["sweep=table3", "seed=0,1", "data=shapes", "experiment=a", "trainer=cpu", "weights=coco"], "shapes"),
        (["rerun=true", "+logger.wandb.entity=me", "~callbacks.overlays", "callbacks.progress=null"], "shapes"),
    ],
)
def test_a_folder_is_named_by_what_makes_other_runs_of_a_sweep(overrides, name):
    assert changed("shapes", overrides) == name


def test_the_end_of_a_sweep_tells_of_rows_that_were_chosen_by_a_pattern(tmp_path, capsys):
    write_run(tmp_path, "frame_dual", 0, measured={"scores": {"AP": 0.5}})
    rows = ["sweep=table2", "experiment=glob(frame_*)", f"hydra.sweep.dir={tmp_path}"]
    with initialize_config_dir(str(CONF), version_base="1.3"):
        cfg = GlobalHydra.instance().hydra.compose_config("train", rows, RunMode.MULTIRUN)
        SweepSummary().on_multirun_end(cfg)
    assert "frame_dual-0" in capsys.readouterr().out


def test_the_end_of_a_sweep_tells_of_the_rows_on_all_data(tmp_path, capsys):
    for data, ap in (("shapes_easy", 0.5), ("shapes_hard", 0.25)):
        write_run(tmp_path / data, "baseline", 0, measured={"scores": {"AP": ap}})
    rows = [
        "sweep=table2",
        "data=shapes_easy,shapes_hard",
        f"hydra.sweep.dir={tmp_path}/${{hydra.runtime.choices.data}}",
    ]
    with initialize_config_dir(str(CONF), version_base="1.3"):
        cfg = GlobalHydra.instance().hydra.compose_config(
            "train", rows, RunMode.MULTIRUN, validate_sweep_overrides=False
        )
        SweepSummary().on_multirun_end(cfg)
    said = capsys.readouterr().out
    assert "scores=0.500" in said and "scores=0.250" in said


def test_the_end_of_a_sweep_tells_of_the_rows_of_all_keys_that_it_has_of_its_own(tmp_path, capsys):
    write_run(tmp_path / "x+seen-3", "baseline", 0, measured={"scores": {"AP": 0.5}})
    write_run(tmp_path / "x+seen-4", "baseline", 0, measured={"scores": {"AP": 0.25}})
    with initialize_config_dir(str(CONF), version_base="1.3"):
        cfg = GlobalHydra.instance().hydra.compose_config("train", ["sweep=table2"], RunMode.MULTIRUN)
        OmegaConf.set_readonly(cfg.hydra, False)
        cfg.hydra.sweep.dir = f"{tmp_path}/${{changed:x,${{hydra.overrides.task}}}}"
        OmegaConf.update(cfg, "hydra.sweeper.params.seen", "3,4", force_add=True)
        SweepSummary().on_multirun_end(cfg)
    said = capsys.readouterr().out
    assert "scores=0.500" in said and "scores=0.250" in said


@pytest.mark.parametrize(("trainer", "devices"), [("auto", [1]), ("gpu", [1]), ("cpu", 1)])
def test_jobs_take_turns_on_the_gpus_unless_they_are_to_leave_them_alone(trainer, devices, monkeypatch):
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    cfg = composed("train", "sweep=table3", "experiment=baseline", "hydra.job.num=3", f"trainer={trainer}")
    assert cfg.trainer.devices == devices


def test_agents_of_a_dashboard_are_sent_for_the_rows_of_a_table():
    sweep = yaml.safe_load((ROOT / "scripts/wandb_sweep.yaml").read_text())
    (table,) = [table for table in paper_tables() if f"sweep={table.key}" in sweep["command"]]
    assert sweep["parameters"]["experiment"]["values"] == [row.row for row in table.rows]
    assert (ROOT / sweep["program"]).is_file()


def test_processes_of_torchrun_train_one_network_from_a_start_that_one_of_them_makes(cache, tmp_path):
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", "train.py"]
    start = f"weights_from.path={tmp_path}/detector/checkpoints/last.ckpt"
    call = [*torchrun, *TINY, "trainer=ddp_cpu", "trainer.max_epochs=1"]
    call += ["recipe=comparison", start, f"weights_from.overrides='{DETECTOR}'", f"hydra.run.dir={tmp_path}/run"]
    call += ["evaluation=[scores]", "data.batch_size=1", "data.generator.valid_videos=2", "callbacks.overlays=null"]
    environment = os.environ | {"COMPFEAT_CACHE": str(cache), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(call, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    run = Run.read(tmp_path / "run")
    assert (run.status, run.steps) == ("finished", 2)  # of two clips each
    assert run.weights == digest(tmp_path / "detector/checkpoints/last.ckpt")
    assert done.stdout.count("first what networks start from") == 1
    assert (tmp_path / "run/scores/metrics.json").is_file()
