"""The report: its numbers are those of the runs, nothing is dropped, and nothing that a run says becomes markup."""

import json
import math
import re
import statistics
from html.parser import HTMLParser
from pathlib import Path

import pytest
from made_up_runs import write_run
from omegaconf import OmegaConf
from shell import ROOT

from compfeat.commands.report import report
from compfeat.experiments.comparison import OTHER_METRICS
from compfeat.experiments.report import words
from compfeat.experiments.report.contents import Contents
from compfeat.experiments.report.curves import STRETCHES, row_curves
from compfeat.experiments.runs import measured_runs

BASE = [0.50, 0.52, 0.51]
DUAL = [0.53, 0.56, 0.545]
ERROR = "loss is <script>alert(1)</script> | nan, see /home/someone/runs/frame_dual-2/metrics.csv"


class Tables(HTMLParser):
    """The texts of the cells of all tables, by the id of the section they are in."""

    def __init__(self, page):
        super().__init__()
        self.rows = {}
        self._section = self._cell = None
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        if tag == "section":
            self._section = dict(attrs)["id"]
        elif tag == "tr":
            self.rows.setdefault(self._section, []).append([])
        elif tag in ("td", "th"):
            self._cell = []

    def handle_data(self, data):
        if self._cell is not None and data.strip():
            self._cell.append(data.strip())

    def handle_endtag(self, tag):
        if tag in ("td", "th"):
            self.rows[self._section][-1].append(" ".join(self._cell))
            self._cell = None

    def row(self, section, start):
        return next(row for row in self.rows[section] if row[0].startswith(start))


def made_up(folder):
    for seed in range(3):
        curves = {"train/loss": [3.0, 2.0, 1.0 + seed]}
        scores = {"AP": BASE[seed], "AP50": 0.7, "AP75": 0.6}
        errors = {"scores": {"mask": 0.1 + seed / 100}}
        measured = {"scores": scores, "mine": dict.fromkeys(OTHER_METRICS, 0.3)}
        write_run(folder, "baseline", seed, measured, curves, ["video=7"], errors, seconds=600.0 + 60 * seed)
        write_run(folder, "frame_dual", seed, {"scores": {**scores, "AP": DUAL[seed]}}, curves, ["video=7"])
    write_run(folder, "both_dual", 0, {"scores": {**scores, "AP": 0.6}})
    write_run(folder, "frame_dual", 3, status="failed", error=ERROR, steps=70)
    write_run(folder, "object_dual", 0, config={"evaluations": {"scores": {}}}, status="running", steps=0)
    return folder


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = made_up(tmp_path_factory.mktemp("runs") / "shapes_ablation")
    report(OmegaConf.create({"runs": str(folder), "output": None}))
    return folder


@pytest.fixture(scope="module")
def page(written):
    return (written / "report.html").read_text()


@pytest.fixture(scope="module")
def markdown(written):
    return (written / "report.md").read_text()


def pm(values, signed=False, divisor=1.0):
    """Mean and deviation in points, worked out here."""
    mean, deviation = 100 * statistics.fmean(values), 100 * statistics.stdev(values) / divisor
    return (f"{mean:+.1f}" if signed else f"{mean:.1f}") + f" ± {deviation:.1f}"


def test_the_page_has_the_numbers_of_the_runs_and_of_the_paper(page):
    tables = Tables(page)
    dual = tables.row("table2", "frame level: both")
    gain = pm([one - base for one, base in zip(DUAL, BASE, strict=True)], signed=True, divisor=3**0.5)
    assert dual[1] == "3 1 not finished"
    assert dual[2:4] == [f"{pm(DUAL)} {gain} * ✓", "25.8 +1.7"]
    assert tables.row("table2", "MaskTrack R-CNN")[2:4] == [f"{pm(BASE)} baseline", "24.1"]
    assert tables.row("table2", "both levels: both")[1:4] == ["1", "60.0 +10.0 ✓", "27.5 +3.4"]
    assert tables.row("glance", "2.")[1] == "3 of 8"
    assert tables.row("other", "mine")[1:3] == ["3", "30.0 ± 0.0 baseline"]
    assert tables.row("errors", "baseline")[4] == "11.0 ± 1.0"
    assert tables.row("cost", "baseline")[3] == "11.0 ± 1.0"


def test_markdown_has_them_too(markdown):
    gain = pm([one - base for one, base in zip(DUAL, BASE, strict=True)], signed=True, divisor=3**0.5)
    row = f"| frame level: both `frame_dual` | 3 (1 not finished) | {pm(DUAL)} ({gain}*) ✓ | 25.8 (+1.7) |"
    assert row in markdown
    assert f"| MaskTrack R-CNN `baseline` | 3 | {pm(BASE)} | 24.1 |" in markdown
    assert "| both levels: both `both_dual` | 1 | 60.0 (+10.0) ✓ | 27.5 (+3.4) |" in markdown
    assert "| mine `baseline` | 3 | 30.0 ± 0.0 |" in markdown
    assert "| `baseline` | 3 | 0.0 ± 0.0 | 0.0 ± 0.0 | 11.0 ± 1.0 |" in markdown
    assert "| `baseline` | 3 | 2,400 | 11.0 ± 1.0 | 1.50 | 1,250,000 | 1,000,000 |" in markdown


def test_rows_that_are_not_run_have_a_dash_and_the_papers_numbers(page, markdown):
    assert Tables(page).row("table2", "frame level: temporal")[1:4] == ["–", "–", "25.2 +1.1"]
    assert Tables(page).row("table2", "object level: both")[1] == "– 1 not finished"
    assert "| frame level: temporal `frame_temporal` | – | – | 25.2 (+1.1) |" in markdown


def test_tables_of_which_nothing_is_run_are_left_out(page, markdown):
    assert {"table1", "table2", "table3"} <= set(Tables(page).rows) and "## Table 2" in markdown
    assert not {"table4", "table5"} & set(Tables(page).rows) and "## Table 4" not in markdown


def test_runs_that_did_not_finish_are_named_with_their_error(page, markdown):
    assert "2 of 9 runs did not finish" in page
    failed = next(row for row in Tables(page).rows["runs"] if row[:2] == ["frame_dual", "3"])
    assert failed[2].startswith("failed loss is <script>alert(1)</script> | nan") and failed[3] == "70"
    assert (
        "| frame_dual-3 | failed: loss is &lt;script>alert(1)&lt;/script> \\| nan, see …/metrics.csv | 70 |" in markdown
    )
    assert "| object_dual-0 | running | 0 |" in markdown


def test_nothing_that_a_run_says_becomes_markup_and_no_folder_is_told(written, page, markdown):
    assert "<script>alert" not in page and "<script>alert" not in markdown
    for text in (page, markdown):
        assert str(written) not in text and "/home/someone" not in text


def test_the_page_says_on_which_data_and_that_they_are_not_the_papers(page, markdown):
    for text in (page, markdown):
        assert "measured on shapes_ablation" in text and "not on the paper’s data" in text
        assert "240 of 12 frames, 600 to train on" in text and "degraded 0.7" in text and "train aaaaaaaa" in text


def test_other_data_are_described_too(tmp_path):
    config = {"data": {"train_split": "train", "val_split": "valid", "size": [640, 360], "generator": None}}
    place = write_run(tmp_path, "baseline", 0, {"scores": {"AP": 0.3}}, config=config)
    assert Contents.of(tmp_path).data["Measured on"] == "split valid (that of validation)"
    (place / "holdout.txt").touch()
    contents = Contents.of(tmp_path)
    assert contents.data["Measured on"].startswith("videos held out from train")
    assert not contents.built_in and "Where these are not the same videos" in words.caveat("ytvis", contents.built_in)


def test_names_of_bars_begin_beside_the_line_at_zero(page):
    zero = float(re.search(r'class="zero" x1="([\d.]+)"', page)[1])
    names = [float(x) for x in re.findall(r'<text x="([\d.]+)" y="36" class="label"', page)]
    assert names and min(names) > zero


def test_videos_lie_beside_the_page_and_those_of_a_row_come_from_one_seed(written, page):
    copies = sorted(path.relative_to(written).as_posix() for path in (written / "report_videos").rglob("*.mp4"))
    assert copies == ["report_videos/baseline-0/video=7.mp4", "report_videos/frame_dual-0/video=7.mp4"]
    for copy in copies:
        assert f'src="{copy.replace("=", "%3D")}"' in page


def test_it_can_be_written_elsewhere_and_again(written, tmp_path):
    for _ in range(2):
        report(OmegaConf.create({"runs": str(written), "output": str(tmp_path / "out")}))
    assert (tmp_path / "out/report.html").read_text() == (written / "report.html").read_text()
    assert (tmp_path / "out/report_videos/baseline-0/video=7.mp4").is_file()


def test_where_it_cannot_be_written_the_older_one_stays(tmp_path, monkeypatch):
    def cut_off(path, text, encoding):
        path.write_bytes(text.encode()[:100])
        raise OSError("No space left on device")

    write_run(tmp_path, "baseline", 0, {"scores": {"AP": 0.3}})
    report(OmegaConf.create({"runs": str(tmp_path), "output": None}))
    before = {path: path.read_bytes() for path in tmp_path.glob("report.*")}
    write_run(tmp_path, "baseline", 1, {"scores": {"AP": 0.4}})
    monkeypatch.setattr(Path, "write_text", cut_off)
    with pytest.raises(OSError, match="No space"):
        report(OmegaConf.create({"runs": str(tmp_path), "output": None}))
    assert {path: path.read_bytes() for path in tmp_path.glob("report.*")} == before
    assert not list(tmp_path.glob(".report*"))


def test_a_short_version_is_printed(written, capsys):
    report(OmegaConf.create({"runs": str(written), "output": None}))
    told = capsys.readouterr().out
    assert pm(DUAL) in told and "+1.7" in told and "frame_dual-3: failed: loss is <script>" in told
    assert "baseline, mine" in told and "report.html" in told


def test_each_form_says_what_the_ways_to_measure_are(written, page, markdown, capsys):
    report(OmegaConf.create({"runs": str(written), "output": None}))
    assert all(words.WAYS in text for text in (capsys.readouterr().out, page, markdown))


def test_a_folder_without_runs_or_with_two_of_the_same_is_told(tmp_path):
    def write(folder=tmp_path):
        report(OmegaConf.create({"runs": str(folder), "output": None}))

    with pytest.raises(FileNotFoundError, match="run.json"):
        write()
    with pytest.raises(FileNotFoundError, match="no such folder"):
        write(tmp_path / "misspelt")
    write_run(tmp_path / "deeper", "baseline", 0)
    with pytest.raises(FileNotFoundError, match=f"runs={tmp_path}/deeper"):
        write()
    write_run(tmp_path, "baseline", 0)
    with pytest.raises(FileNotFoundError, match=f"runs={tmp_path}$"):
        write(tmp_path / "baseline-0")
    write()  # a run that was not measured is a report too
    (tmp_path / "copy").mkdir()
    (tmp_path / "copy/run.json").write_bytes((tmp_path / "baseline-0/run.json").read_bytes())
    with pytest.raises(ValueError, match="both baseline with seed 0"):
        write()


def test_what_was_not_measured_and_data_that_differ_are_named(tmp_path, capsys):
    write_run(tmp_path, "baseline", 0, {"scores": {"AP": 0.3}}, config={"evaluations": {"scores": {}, "cues": {}}})
    write_run(tmp_path, "baseline", 1, config={"evaluations": {"scores": {}}})
    old, new = {"train": "a" * 32, "valid": "b" * 32}, {"train": "a" * 32, "valid": "c" * 32, "test": "d" * 32}
    write_run(tmp_path, "compfeat", 0, {"scores": {"AP": 0.4}}, data=old)
    write_run(tmp_path, "compfeat", 1, {"scores": {"AP": 0.4}}, data=new)
    write_run(tmp_path, "compfeat", 2, data={"train": "e" * 32}, status="failed", error="no")  # counts in no number
    report(OmegaConf.create({"runs": str(tmp_path), "output": None}))
    told = capsys.readouterr().out
    page, markdown = ((tmp_path / name).read_text() for name in ("report.html", "report.md"))
    assert "baseline-0: finished, not measured by cues\nbaseline-1: finished, not measured by scores\n" in told
    assert "2 of 5 runs finished and were not measured" in page and "| scores, not cues |" in markdown
    assert Tables(page).row("table3", "MaskTrack R-CNN")[1] == "1 1 not measured"
    assert "| 1 (1 not measured) |" in markdown
    differ = "annotations.valid: bbbbbbbb of baseline-0, baseline-1, compfeat-0; cccccccc of compfeat-1"
    assert f"{words.DIFFERENT}: {differ}\n" in told and f"<li>{differ}</li>" in page
    assert f"{words.DIFFERENT}:** {differ}." in markdown and "train: " not in told
    assert Contents.of(tmp_path).data["Annotations"].endswith("valid bbbbbbbb or cccccccc, test dddddddd")


def test_what_rows_should_have_in_common_and_have_not_is_named(tmp_path):
    def row(name, seed, weights, labels, width=16, frames="random", commit="1" * 40, **trainer):
        trainer = {"precision": "32-true", "devices": 1, "default_root_dir": f"{name}-{seed}"} | trainer
        config = {"weights": "last.ckpt", "module": {"seed": seed, "lr": 1.0}, "trainer": trainer}
        config |= {"model": {"width": width}, "data": {"seed": seed, "sampler": frames}}
        facts = {"config": config, "commit": commit, "weights": weights, "steps": trainer.get("max_steps", 20)}
        place = write_run(tmp_path, name, seed, {"scores": {"AP": 0.3}}, **facts)
        (place / "scores/evaluation.json").write_text(json.dumps({"labels": {"nms_threshold": labels}}))

    row("baseline", 0, "a" * 64, 0.5)
    row("baseline", 1, "a" * 64, 0.5)
    row("compfeat", 1, "a" * 64, 0.5, 16, "random", "1234567" * 6, devices=[3], accelerator="gpu")
    assert Contents.of(tmp_path).different == []
    other = {"precision": "bf16-mixed", "devices": 2, "max_steps": 9}
    row("compfeat", 2, "b" * 64, 0.6, 64, "uniform", "89abcde" * 6 + "+", **other)
    assert Contents.of(tmp_path).different == [
        "weights: aaaaaaaa of baseline-0, baseline-1, compfeat-1; bbbbbbbb of compfeat-2",
        "processes: 1 of baseline-0, baseline-1, compfeat-1; 2 of compfeat-2",
        "steps: 20 of baseline-0, baseline-1, compfeat-1; 9 of compfeat-2",
        "trainer.precision: 32-true of baseline-0, baseline-1, compfeat-1; bf16-mixed of compfeat-2",
        "trainer.max_steps: None of baseline-0, baseline-1, compfeat-1; 9 of compfeat-2",
        "commit: 1234567 of compfeat-1; 89abcde+ of compfeat-2",
        "model.width: 16 of compfeat-1; 64 of compfeat-2",
        "data.sampler: random of compfeat-1; uniform of compfeat-2",
        "scores.labels.nms_threshold: 0.5 of baseline-0, baseline-1, compfeat-1; 0.6 of compfeat-2",
    ]


def test_the_recorded_runs_are_alike():
    assert Contents.of(ROOT / "docs/runs/shapes_ablation").different == []


def test_curves_are_thinned_and_their_mean_is_of_the_runs_that_finished(tmp_path):
    for seed in range(2):
        write_run(tmp_path, "baseline", seed, curves={"train/loss": [step + 10 * seed for step in range(600)]})
    write_run(tmp_path, "baseline", 2, curves={"train/loss": [1.0, 1.0, math.nan]}, status="failed", error="nan")
    write_run(tmp_path, "compfeat", 0, curves={"train/loss": [1.0]})
    (row,) = row_curves([(one, one.curves()) for one in measured_runs(tmp_path)], "train/loss")
    assert len(row.runs[0]) == len(row.mean) == STRETCHES and row.runs[2] == [(2, 1.0)]
    assert row.mean[30] == (304, pytest.approx(303.5 + 5, abs=1))


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("no such file: '/home/me/data/train.json'", "no such file: '…/train.json'"),
        ("~/data/a.ckpt and file:///tmp/b", "…/a.ckpt and …/b"),
        ("clips 12/3, 40/7 of https://host/path/x.pth", "clips 12/3, 40/7 of https://host/path/x.pth"),
        (None, ""),
    ],
)
def test_of_paths_only_the_last_part_is_told(said, told):
    assert words.error(said) == told


def test_one_day_is_told_once():
    assert words.days(["2026-11-20T23:00:00+00:00", "2026-11-20T10:00:00+00:00"]) == "2026-11-20"
    assert words.days(["2026-11-27T10:00:00+00:00", "2026-11-20T10:00:00+00:00"]) == "2026-11-20 to 2026-11-27"
