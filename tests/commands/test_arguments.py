"""That a file may be called what it likes, and that what Hydra's grammar is for goes on working."""

from pathlib import Path
from typing import Any, get_type_hints

import pytest
from hydra import compose, initialize_config_dir
from shell import command

from compfeat.commands.arguments import as_typed
from compfeat.commands.launch import CONF
from compfeat.commands.predict import PredictConfig
from compfeat.commands.train import TrainConfig

NAMES = [
    "IMG_1234 (1).mp4", "ünï cödé 视频.mp4", "a,b.mp4", "it's.mp4", 'say "hi".mp4', "a[1].mp4", "50%_#1?.mp4",
    "a=b.mp4", "{x}.mp4", "{a:1}", "run [v1]", "[v1]", "1e10", "true", "a:b.mp4", "glob(*)", "C:\\videos\\", "it's\\",
    "a & b; c", "", "rtsp://camera/live?channel=1&quality=2", "-x.mp4", "(1)",
]  # fmt: skip


def composed(arguments, of=PredictConfig, config="predict"):
    keys = get_type_hints(of, include_extras=True)
    typed = as_typed(arguments, keys)
    assert as_typed(typed, keys) == typed  # processes that are started with them read them again
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return compose(config, typed)


@pytest.mark.parametrize("name", NAMES)
def test_a_file_may_be_called_what_it_likes(name):
    assert composed(["ckpt=a", f"video={name}"]).video == name


def test_a_name_that_is_not_in_utf8_is_told_before_any_work(tmp_path):
    done = command("scripts/predict.py", "ckpt=a", "video=caf\udce9.mp4", cache=tmp_path, code=2)
    assert done.stderr == "error: 'video=caf\\udce9.mp4' is not in UTF-8, as names of files must be here; rename it\n"


def test_the_home_folder_is_found():
    cfg = composed(["ckpt=~/last.ckpt", "video='~/as it is'", "output=~nobody-of-this-name"])
    assert cfg.ckpt == str(Path.home() / "last.ckpt")
    assert (cfg.video, cfg.output) == ("~/as it is", "~nobody-of-this-name")
    assert composed(["data=ytvis", "data.root=~/data (2019)"], TrainConfig, "train").data.root == str(
        Path.home() / "data (2019)"
    )


def test_what_the_grammar_is_for_stays():
    arguments = [
        "--info",
        "-cd",
        "ckpt='it\\'s'",
        "video=${ckpt}",
        "classes=[dog,traffic light]",
        "start=1.5",
        "end=null",
    ]
    arguments += ["~labels", "+more={a:1}", "tracker@x=cues", "score=0.1,0.2", "every=x"]
    assert as_typed(arguments, get_type_hints(PredictConfig, include_extras=True)) == arguments


@pytest.mark.parametrize("sweep", ["-m", "--multirun", "hydra.mode=MULTIRUN", "sweep=table3"])
def test_commas_separate_the_values_of_a_sweep(sweep):
    keys: dict[str, Any] = get_type_hints(TrainConfig, include_extras=True)
    swept = [sweep, "weights=a.pth,b (1).pth", "name=choice(a,b)", "resume=glob(*)", "data.root=a,b", "seed=range(1,3)"]
    assert as_typed(swept, keys) == swept
    assert as_typed([sweep, "weights=b (1).pth"], keys) == [sweep, "weights='b (1).pth'"]
