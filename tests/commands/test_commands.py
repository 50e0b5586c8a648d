"""The commands as a user runs them: what they print, write and exit with."""

import csv
import gzip
import json
import subprocess
import sys
from pathlib import Path

import cv2
import pytest
import torch
from composed import composed
from hydra.utils import instantiate
from omegaconf import OmegaConf
from shell import ROOT, command, in_this_process
from torch.utils.data import DataLoader

from compfeat.commands.launch import CONF, one_line
from compfeat.evaluation.breakdown import KINDS
from compfeat.experiments.record import Run
from compfeat.images import ImageError, read_image

SMALL = [
    "data.generator.train_videos=8",
    "data.generator.valid_videos=2",
    "data.generator.length=4",
    "data.batch_size=4",
    "data.workers=0",
    "callbacks.progress=null",
]


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


def options(group):
    return sorted(path.stem for path in (CONF / group).glob("[!_]*.yaml"))


COMMANDS = {"benchmark", "convert", "probe"}  # whose options are configs of their own, see test_config_check.py
PLACES = {  # in the config of train.py, of groups that are not composed under their own names
    "attention": "model.detector.frame_attention",
    "track_head": "model.detector.track_head",
    "labels": "model.labels",
    "support": "model.support",
    "tracker": "model.tracker",
    "optimizer": "module.optimizer",
    "scheduler": "module.scheduler",
}
GROUPS = sorted({folder.name for folder in CONF.iterdir() if folder.is_dir()} - COMMANDS)


@pytest.mark.parametrize(("group", "option"), [(group, option) for group in GROUPS for option in options(group)])
def test_every_option_composes_and_builds(group, option, tmp_path):
    chosen = f"{group}@{PLACES[group]}" if group in PLACES else group
    listed = f"[{option}]" if group == "evaluation" else option
    beside = [f"hydra.runtime.output_dir={tmp_path}", "hydra.job.num=0"]
    if group == "experiment":
        beside.append("data=shapes_ablation")  # which has still images to leave out
    cfg = composed("train", f"{chosen}={listed}", *beside)
    OmegaConf.set_struct(cfg, False)
    cfg.data.root = str(tmp_path)
    if cfg.data.coco is not None:
        cfg.data.coco.root = str(tmp_path)
    cfg.model.detector.num_classes = 3
    cfg.model.categories = [{"id": i, "name": str(i)} for i in range(1, 4)]
    cfg.model.detector.backbone.frozen = False
    if option in ("gpu", "ddp"):  # cannot be built without one
        assert cfg.trainer.accelerator == "gpu"
        cfg.trainer.update(accelerator="cpu", devices=1)
    if option == "wandb":  # asks for an account
        assert cfg.logger.pop("wandb")._target_.endswith("Dashboard") and "csv" in cfg.logger
    assert instantiate(cfg.model, _convert_="all").detector.roi_heads.box_predictor.cls_score.out_features == 4
    parts = [cfg.data, cfg.trainer, cfg.module, *cfg.callbacks.values(), *cfg.logger.values()]
    parts += [part for evaluation in cfg.evaluations.values() for part in evaluation.values()]
    assert None not in [instantiate(part) for part in parts]


HALVES = (("temporal", "t"), ("spatial", "s"))
ROWS = {  # frame temporal, frame spatial, object temporal, object spatial, correlation
    "baseline": "-----",
    "frame_temporal": "t----",
    "frame_spatial": "-s---",
    "frame_dual": "ts---",
    "object_temporal": "--t--",
    "object_spatial": "---s-",
    "object_dual": "--ts-",
    "both_dual": "tsts-",
    "correlation": "----c",
    "correlation_plain": "----c",
    "correlation_frame": "ts--c",
    "correlation_object": "--tsc",
    "compfeat": "tstsc",
}


@pytest.mark.parametrize(("row", "switches"), ROWS.items())
def test_rows_of_the_papers_tables_switch_what_they_say(row, switches, tmp_path):
    detector = composed("train", f"experiment={row}").model.detector
    duals = (detector.frame_attention, detector.object_attention)
    shown = "".join(letter if dual and dual[half] else "-" for dual in duals for half, letter in HALVES)
    assert shown + ("c" if "Correlation" in detector.track_head._target_ else "-") == switches


@pytest.mark.parametrize(
    ("overrides", "name"),
    [
        ([], "compfeat"),
        (["model=masktrack_rcnn"], "masktrack_rcnn"),
        (["experiment=frame_dual"], "frame_dual"),
        (["experiment=detector"], "detector"),
        (["recipe=demo"], "demo"),
        (["sweep=table3", "experiment=correlation", "recipe=demo"], "correlation"),
    ],
)
def test_a_run_is_named_after_its_row_or_else_its_model(overrides, name):
    assert composed("train", *overrides).name == name


@pytest.mark.parametrize("small", ["experiment=detector", "recipe=demo", "recipe=demo_detector"])
def test_what_a_cpu_does_in_no_time_is_done_there_unless_a_gpu_is_asked_for(small):
    chosen = [composed("train", small, *given).trainer for given in ((), ("trainer=gpu",))]
    assert [trainer.accelerator for trainer in chosen] == ["cpu", "gpu"]


def test_a_run_lies_in_one_folder(tmp_path):
    cfg = composed("train", f"trainer.default_root_dir={tmp_path}", "logger=wandb")
    loggers = [cfg.logger.csv.save_dir, cfg.logger.wandb.save_dir]
    assert loggers == [str(tmp_path)] * 2
    assert {cfg.callbacks[name].dirpath for name in ("best", "last", "meanwhile")} == {f"{tmp_path}/checkpoints"}


@pytest.mark.parametrize("table", options("sweep"))
def test_every_sweep_is_made_of_rows_that_compose(table):
    cfg = composed("train", f"sweep={table}")
    assert cfg.hydra.mode.name == "MULTIRUN"
    for key, values in cfg.hydra.sweeper.params.items():
        for value in values.split(","):
            composed("train", f"{key}={value}")


@pytest.mark.parametrize(
    ("chosen", "attention"),
    [
        ("experiment=baseline", [None, None]),
        ("experiment=object_temporal", [None, True]),
        ("experiment=baseline attention@model.detector.frame_attention=dual", [True, None]),
        ("experiment=frame_temporal attention@model.detector.object_attention=dual", [True, True]),
        ("model.detector.object_attention=null", [True, None]),
    ],
)
def test_attention_is_where_it_was_chosen(chosen, attention):
    detector = composed("train", *chosen.split()).model.detector
    assert [part and part.temporal for part in (detector.frame_attention, detector.object_attention)] == attention


@pytest.mark.parametrize("option", options("support"))
def test_every_support_policy_builds_for_inference(option):
    cfg = composed("evaluate", f"support={option}", "support.frames=5", "ckpt=a")
    assert instantiate(cfg.support).frames == 5


def test_support_frames_are_of_the_whole_video_or_of_the_past():
    assert instantiate(composed("evaluate", "support=uniform").support).look_ahead
    assert not instantiate(composed("evaluate", "support=causal").support).look_ahead


@pytest.mark.parametrize("option", options("tracker"))
def test_every_tracker_builds_for_inference(option):
    cfg = composed("predict", f"tracker={option}", "ckpt=a", "video=b")
    assert instantiate(cfg.tracker).memory is None


@pytest.mark.parametrize(("option", "label"), [("scores", None), ("cues", 2.0), ("paper_cues", 10.0)])
def test_a_tracker_heeds_cues_as_its_name_says(option, label):
    cues = instantiate(composed("evaluate", f"tracker={option}").tracker).cues
    assert getattr(cues, "label", None) == label


@pytest.mark.parametrize(
    "script",
    [
        "train.py",
        "scripts/evaluate.py",
        "scripts/predict.py",
        "scripts/serve.py",
        "scripts/export.py",
        "scripts/check_data.py",
        "scripts/report.py",
        "scripts/benchmark.py data",
        "scripts/convert.py coco",
    ],
)
def test_help_shows_how_to_call(script, cache):
    shown = in_this_process(*script.split(), "--help", cache=cache).stdout
    assert f"python {script}" in shown and "Keys" in shown


@pytest.mark.parametrize("kind", sorted(COMMANDS))
def test_help_says_what_each_name_stands_for(kind, cache):
    told = in_this_process(f"scripts/{kind}.py", "--help", cache=cache).stdout.splitlines()[2:]
    assert [line.split()[0] for line in told] and {line.split()[0] for line in told} == set(options(kind))
    assert all(len(line.split()) > 3 for line in told)


def test_help_explains_the_keys_and_groups_of_what_is_chosen(cache):
    shown = in_this_process("train.py", "data=ytvis", "--help", cache=cache).stdout
    assert "\n  root: ???                     # folder of the data set; nothing is written into it\n" in shown
    assert "\n    lr: 0.0125\n" in shown and "\nprobe: " not in shown
    assert f"\nsweep: {', '.join(options('sweep'))}  # a table: several experiments" in shown
    assert max(map(len, shown.splitlines())) <= 120


@pytest.mark.parametrize(
    ("script", "arguments", "said"),
    [
        ("train.py", ["trainer.max_epoch=3"], "there is no key trainer.max_epoch: trainer.max_epochs?"),
        ("train.py", ["sweep=table3", "seed=0,1", "trainer.max_epoch=3"], "no key trainer.max_epoch: trainer.max_ep"),
        ("train.py", ["max_epoch=3"], "there is no key max_epoch: trainer.max_epochs?"),
        ("train.py", ["trainer.max_steps=3"], "trainer.max_steps is not set in conf/: +trainer.max_steps=VALUE"),
        ("train.py", ["module.loss_weights.loss_mine=2"], "+module.loss_weights.loss_mine=VALUE, with a plus, sets it"),
        ("scripts/predict.py", ["support=uniform", "support.window=60"], "+support.window=VALUE, with a plus, sets it"),
        ("scripts/report.py", ["tresh=1"], "there is no key tresh here, but runs, output; see --help"),
        ("train.py", ["sweep=table1", "seed=0,1", "trainer=foo"], "no trainer=foo, but auto, cpu, ddp, ddp_cpu, gpu"),
        ("train.py", ["evaluation=[foo]"], "there is no evaluation=foo, but cues, frames2"),
        ("train.py", ["+ouput=here"], "there is no key ouput here, but name, seed"),
        ("train.py", ["logger=null"], "~GROUP leaves it out"),
        ("train.py", ["trainer.max_epochs=x"], 'trainer.max_epochs="x": should be a valid integer'),
        ("train.py", ["model.detector.support_pooling=[1,2]"], "should be a list of 4 values"),
        ("train.py", ["trainer=gpu"], "trainer: No supported gpu backend found! Use trainer=cpu or trainer=auto"),
        ("train.py", ["resume=missing.ckpt"], "missing.ckpt"),
        ("train.py", ["data=nowhere"], "nowhere"),
        ("train.py", ["experiment=compfeat", "model=masktrack_rcnn"], "experiment=compfeat says which model"),
        ("train.py", ["model.labels._target_=types.SimpleNamespace"], "'types.SimpleNamespace', which is no part of"),
        ("train.py", ["data.coco_share=1.0"], "should be less than 1"),
        ("train.py", ["experiment=baseline_videos", "data=ytvis", "data.root=a"], "there are none: data=ytvis_coco"),
        ("train.py", ["data=ytvis"], "add data.root=PATH"),
        ("train.py", ["data=ytvis_coco", "data.root=missing/folder"], "add data.coco.root=PATH"),
        ("train.py", ["data=ytvis", "data.root=missing/folder"], "missing/folder"),
        ("train.py", ["weights=missing.pth", *SMALL], "missing.pth"),
        ("scripts/evaluate.py", [], "add ckpt=PATH"),
        ("scripts/evaluate.py", ["ckpt=missing.ckpt"], "missing.ckpt"),
        ("scripts/evaluate.py", ["results=missing.json"], "there is no results file at missing.json"),
        ("scripts/evaluate.py", ["ckpt=missing.ckpt", "device=warp"], "device=warp cannot be used"),
        ("scripts/predict.py", ["ckpt=missing.ckpt", f"video={ROOT}/docs/demo.jpg"], "missing.ckpt"),
        ("scripts/predict.py", ["ckpt=coco", "video=missing.mp4"], "no video at missing.mp4"),
        ("scripts/predict.py", ["dog.mp4"], "'dog.mp4' is no KEY=VALUE, see --help; what has spaces stands in quotes"),
        (
            "scripts/predict.py",
            ["ckpt=a", "video=b", "write=tracks,masks"],
            "they are a list, write=[tracks,masks]",
        ),
        ("scripts/export.py", ["ckpt=missing.ckpt", "output=missing/folder"], "missing.ckpt"),
        ("scripts/check_data.py", ["data=ytvis", "data.root=missing/folder"], "missing/folder"),
        ("scripts/probe.py", ["attention", "ckpt=last.ckpt"], 'ckpt="last.ckpt": should be a list, [...]'),
        ("scripts/benchmark.py", ["speed"], "no benchmark 'speed'"),
    ],
)
def test_a_wrong_call_is_one_line_and_exit_code_2(script, arguments, said, cache, tmp_path):
    error = in_this_process(script, *arguments, f"hydra.run.dir={tmp_path}", cache=cache, code=2).stderr
    lines = [line for line in error.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1 and said in lines[0], error
    assert "drawing" not in error and not list(tmp_path.glob("checkpoints"))


def test_attention_without_support_frames_is_refused_before_anything_is_trained(cache, tmp_path):
    made = [f"weights_from.path={tmp_path}/detector/checkpoints/last.ckpt", "data.coco=null", "data.generator.stills=0"]
    call = ["data=shapes_ablation", *SMALL, *made, "data.sampler.support_frames=0", f"hydra.run.dir={tmp_path}/run"]
    error = command("train.py", *call, cache=cache, code=2).stderr
    assert error.splitlines()[-1].startswith("error: data.sampler.support_frames=0: attention looks at support frames")
    assert not (tmp_path / "detector").exists()


def test_ctrl_c_is_one_line_also_while_a_command_starts():
    script = (
        "import compfeat.commands, os, signal; os.kill(os.getpid(), signal.SIGINT); import compfeat.commands.launch"
    )
    interruptible = [
        "env",
        "--default-signal=INT",
        sys.executable,
        "-c",
        script,
    ]  # also where tests are in the background
    done = subprocess.run(interruptible, capture_output=True, text=True, cwd=ROOT)
    assert (done.returncode, done.stderr) == (130, "interrupted\n")


def test_out_of_memory_is_one_line_that_says_what_takes_less():
    for error in (
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has ..."),
        RuntimeError("[enforce fail at alloc_cpu.cpp:114] DefaultCPUAllocator: can't allocate memory: you tried ..."),
        MemoryError("Unable to allocate 1.0 TiB"),
    ):
        assert one_line(error).startswith("out of memory: take fewer at a time (data.batch_size")


def test_an_error_in_a_process_that_loads_clips_is_one_line_without_its_traceback(tmp_path):
    loader = DataLoader([tmp_path / "gone.jpg"], num_workers=1, collate_fn=lambda paths: read_image(paths[0]))
    with pytest.raises(ImageError) as caught:
        next(iter(loader))
    assert one_line(caught.value) == f"cannot read the image {tmp_path / 'gone.jpg'}: No such file or directory"


def test_a_job_that_fails_does_not_stop_those_after_it(cache, tmp_path):
    modes = "data.sampler.mode=foo,random,bar,uniform"
    done = command(
        "train.py", "-m", *SMALL, "trainer.max_epochs=1", modes, f"hydra.sweep.dir={tmp_path}", cache=cache, code=2
    )
    assert [(tmp_path / str(job) / "checkpoints" / "last.ckpt").is_file() for job in range(4)] == [0, 1, 0, 1]
    told = done.stderr.split("2 jobs failed:")[1].strip().splitlines()
    assert len(told) == 2 and "mode=foo" in told[0] and "mode=bar" in told[1]
    assert all("should be 'random' or 'uniform'" in line for line in told)


def test_a_pipe_that_is_closed_early_is_no_error(cache):
    script = f"set -o pipefail; {sys.executable} train.py --help | head -1"
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0 and done.stderr == "" and len(done.stdout.splitlines()) == 1


@pytest.mark.parametrize("shown", [True, False])
def test_progress_is_lines_in_a_pipe_or_silence(shown, cache, tmp_path):
    small = [argument for argument in SMALL if shown is False or not argument.startswith("callbacks")]
    done = command("train.py", *small, "trainer.max_epochs=2", f"hydra.run.dir={tmp_path}", cache=cache)
    assert ("training: 4 of 4 steps" in done.stderr) == shown
    assert ("validation: 2 of 2 videos" in done.stderr) == shown
    assert not {"\r", "\x1b", "%"} & set(done.stdout + done.stderr)


@pytest.mark.parametrize("data", options("data"))
def test_one_step_can_be_tried_on_every_data_set(data):
    cfg = composed("train", f"data={data}", "debug=smoke", "data.root=x").data
    assert cfg.only_videos == 4 and (cfg.generator is None or "_target_" in cfg.generator)


@pytest.mark.parametrize("debug", options("debug"))
def test_what_is_tried_does_not_take_the_folder_of_a_trained_network(debug):
    assert str(composed("train", "experiment=detector", f"debug={debug}").hydra.run.dir).startswith(f"outputs/{debug}/")


@pytest.mark.parametrize("model", options("model"))
def test_one_real_step_of_everything(model, cache, tmp_path):
    before = Run(name="row", seed=0, config={}, steps=7, status="finished")
    before.write(tmp_path)
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints/last.ckpt").touch()
    call = [f"model={model}", "debug=smoke", "callbacks.progress=null", "~logger", f"hydra.run.dir={tmp_path}"]
    assert command("train.py", *call, cache=cache).stdout.splitlines()[-1] == "everything ran; no network is kept"
    assert (tmp_path / "checkpoints/last.ckpt").is_file() and Run.read(tmp_path) == before


def losses(folder):
    rows = list(csv.DictReader((Path(folder) / "metrics.csv").open()))
    return {int(row["step"]): row["train/loss"] for row in rows if row.get("train/loss")}


def test_train_resume_evaluate_predict(cache, tmp_path):
    common = [*SMALL, "trainer.log_every_n_steps=1"]
    whole, part = tmp_path / "whole", tmp_path / "part"
    command("train.py", *common, "trainer.max_epochs=2", f"hydra.run.dir={whole}", cache=cache)
    # Interrupted after the first epoch of two, then resumed: the same losses to the last digit.
    command("train.py", *common, "trainer.max_epochs=2", "+trainer.max_steps=2", f"hydra.run.dir={part}", cache=cache)
    resumed = tmp_path / "resumed"
    command(
        "train.py",
        *common,
        "trainer.max_epochs=2",
        f"resume={part / 'checkpoints' / 'last.ckpt'}",
        f"hydra.run.dir={resumed}",
        cache=cache,
    )
    assert losses(part) | losses(resumed) == losses(whole)
    assert len(losses(whole)) == 4
    for change, told in (
        ("trainer.max_epochs=2", "has finished its 2 epochs: raise trainer.max_epochs"),
        ("model=masktrack_rcnn", "model.detector.frame_attention._target_ was"),
    ):
        wrong = [change, f"resume={whole / 'checkpoints' / 'last.ckpt'}", f"hydra.run.dir={tmp_path / 'wrong'}"]
        assert told in command("train.py", *common, *wrong, cache=cache, code=2).stderr

    last = torch.load(whole / "checkpoints" / "last.ckpt", weights_only=True)
    assert last["epoch"] == 1  # whether its AP was the best or not
    ckpt = f"ckpt={whole / 'checkpoints' / 'best.ckpt'}"
    assert (whole / "overlays" / "epoch=01.png").is_file()
    data = [argument for argument in SMALL if argument.startswith("data.")]
    shown = command("scripts/evaluate.py", ckpt, *data, f"output={tmp_path / 'out'}", cache=cache).stdout
    assert "AP50" in shown and "AR10" in shown and "AP by class" in shown
    assert isinstance(json.loads((tmp_path / "out" / "results.json").read_text()), list)
    assert (tmp_path / "out" / "results.zip").is_file()
    assert 0 <= json.loads((tmp_path / "out" / "metrics.json").read_text())["AP"] <= 1
    assert set(json.loads((tmp_path / "out" / "breakdown.json").read_text())["overall"]) == set(KINDS)

    video = next(cache.glob("shapes-*/valid/JPEGImages/*"))
    command("scripts/predict.py", ckpt, f"video={video}", f"output={tmp_path / 'video'}", "score=0", cache=cache)
    capture = cv2.VideoCapture(str(tmp_path / "video" / "overlay.mp4"))
    assert int(capture.get(cv2.CAP_PROP_FRAME_COUNT)) == len(list(video.iterdir()))


def test_results_of_any_system_are_measured_without_their_frames(shared_data, cache, tmp_path):
    example = json.loads(gzip.decompress((shared_data / "eval_example.json.gz").read_bytes()))
    truth, results = tmp_path / "valid.json", tmp_path / "results.json"
    truth.write_text(json.dumps(example["gt"]))
    results.write_text(json.dumps(example["dt"]))
    for root in (tmp_path, truth):
        call = [f"results={results}", "data=ytvis", f"data.root={root}", f"output={tmp_path}/{root.stem}"]
        shown = command("scripts/evaluate.py", *call, cache=cache).stdout
        assert "AP by class" in shown and "duplicate" in shown
        assert list(json.loads((tmp_path / root.stem / "metrics.json").read_text()).values()) == example["stats"]

    results.write_text(json.dumps([{**example["dt"][0], "category_id": 99}]))
    assert "unknown category 99" in command("scripts/evaluate.py", *call, cache=cache, code=2).stderr
    results.write_text("[{")
    assert f"{results} is not json: Expecting" in command("scripts/evaluate.py", *call, cache=cache, code=2).stderr
    results.write_text("[]")
    truth.write_text(json.dumps({**example["gt"], "annotations": None}))
    assert "no ground truth in" in command("scripts/evaluate.py", *call, cache=cache, code=2).stderr
    truth.write_text("[]")
    told = command("scripts/evaluate.py", *call, cache=cache, code=2).stderr
    assert f"{truth} is not in the YouTube-VIS format" in told
    assert "ckpt=PATH or results=PATH" in command("scripts/evaluate.py", *call[1:], cache=cache, code=2).stderr
    assert "are both given" in command("scripts/evaluate.py", *call, "ckpt=a", cache=cache, code=2).stderr


@pytest.mark.parametrize(
    ("overrides", "block", "optimizer", "size"),
    [
        ([], "basic", "AdamW", [160, 96]),
        (["data=shapes_hard"], "basic", "AdamW", [160, 96]),
        (["data=ytvis", "data.root=x"], "bottleneck", "SGD", [640, 360]),
        (["data=ytvis_coco", "data.root=x", "data.coco.root=x"], "bottleneck", "SGD", [640, 360]),
        (["data=ytvis", "data.root=x", "recipe=small"], "basic", "AdamW", [640, 360]),
        (["data=shapes", "recipe=paper", "backbone=tiny"], "basic", "SGD", [160, 96]),
    ],
)
def test_a_data_set_brings_the_recipe_that_fits_it(overrides, block, optimizer, size):
    cfg = composed("train", *overrides)
    assert cfg.model.detector.backbone.block == block
    assert cfg.module.optimizer._target_ == f"torch.optim.{optimizer}"
    assert list(cfg.model.size) == size
