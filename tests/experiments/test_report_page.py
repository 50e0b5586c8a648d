"""The page of the report in a browser, from disk."""

from functools import partial

import pytest
from made_up_runs import write_run
from omegaconf import OmegaConf

from compfeat.commands.report import report

APS = {"baseline": 0.50, "frame_temporal": 0.53, "frame_dual": 0.56, "object_spatial": 0.51}


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "shapes_ablation"
    for row, ap in APS.items():
        for seed in range(2):
            measured = {"scores": {"AP": ap + seed / 100, "AP50": 0.7, "AP75": 0.6}}
            curves = {"train/loss": [3.0, 2.0, 1.0]}
            write_run(folder, row, seed, measured, curves, ["video=1", "video=2"], {"scores": {"mask": 0.1}})
    write_run(folder, "object_dual", 0, status="failed", error="a long word: " + "x" * 200)
    report(OmegaConf.create({"runs": str(folder), "output": None}))
    return folder / "report.html"


@pytest.fixture
def opened(open_page, path):
    return partial(open_page, path)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 420])
def test_it_fits_the_window(opened, width, scheme):
    page = opened(viewport={"width": width, "height": 900}, color_scheme=scheme)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    red = int(page.evaluate("getComputedStyle(document.body).backgroundColor").split("(")[1].split(",")[0])
    assert (red < 60) == (scheme == "dark")
    assert page.locator("#table2 svg").count() == 4 and page.locator("#table2 rect.ours").count() == 9
    assert page.locator("#curves polyline.mean").count() == 4


def test_it_is_printed_light(opened):
    page = opened(color_scheme="dark")
    page.emulate_media(media="print")
    assert page.evaluate("getComputedStyle(document.querySelector('h1')).color") == "rgb(28, 29, 31)"
    assert not page.locator(".play").first.is_visible()
    assert page.pdf().startswith(b"%PDF")


def test_tables_are_sorted_by_mouse_and_keyboard(opened):
    page = opened()

    def rows():
        return page.locator("#table2 tbody code").all_inner_texts()

    first = rows()
    header = page.locator("#table2 th.ours").first
    header.locator("button").click()
    assert header.get_attribute("aria-sort") == "descending"
    assert rows()[:4] == ["frame_dual", "frame_temporal", "object_spatial", "baseline"]
    header.locator("button").focus()
    page.keyboard.press("Enter")
    assert header.get_attribute("aria-sort") == "ascending"
    assert rows()[:4] == ["baseline", "object_spatial", "frame_temporal", "frame_dual"]  # what is missing stays below
    page.locator("#table2 th[data-column='0'] button").click()
    assert header.get_attribute("aria-sort") is None
    names = page.locator("#table2 tbody th").all_inner_texts()
    assert names == sorted(names, key=str.lower) and sorted(rows()) == sorted(first)


def test_copies_of_a_video_play_and_pause_together(opened):
    page = opened()
    group = page.locator(".video").first
    button = group.locator("button")
    group.scroll_into_view_if_needed()
    playing = "([...document.querySelector('.video').querySelectorAll('video')]).every(copy => copy.currentTime > 0.3)"
    page.wait_for_function(playing)
    assert group.locator("video").count() == len(APS)
    button.click()
    assert button.inner_text() == "Play"
    times = group.locator("video").evaluate_all("copies => copies.map(copy => [copy.paused, copy.currentTime])")
    assert all(paused for paused, _ in times)
    page.wait_for_timeout(300)
    assert times == group.locator("video").evaluate_all("copies => copies.map(copy => [copy.paused, copy.currentTime])")
    assert max(time for _, time in times) - min(time for _, time in times) < 0.5
    button.focus()
    page.keyboard.press("Enter")
    assert button.inner_text() == "Pause"
    page.wait_for_function("([...document.querySelectorAll('.video video')]).slice(0, 4).every(copy => !copy.paused)")


def test_nothing_moves_for_those_who_want_it_so(opened):
    page = opened(reduced_motion="reduce")
    page.locator(".video").first.scroll_into_view_if_needed()
    page.wait_for_timeout(300)
    assert page.locator(".video button").first.inner_text() == "Play"
    assert page.locator(".video video").evaluate_all("copies => copies.every(copy => copy.paused)")


def test_everything_has_a_name_to_be_read_aloud(opened):
    page = opened()
    for kind in ("svg", "video", ".scroll", ".play"):
        elements = page.locator(kind)
        assert elements.count() > 0
        assert all(elements.evaluate_all("found => found.map(one => one.getAttribute('aria-label'))"))
    targets = page.locator("a").evaluate_all("links => links.map(link => link.getAttribute('href').slice(1))")
    assert [target for target in targets if page.locator(f"[id='{target}']").count() != 1] == []


OVERLAPPING = """() => [...document.querySelectorAll(".number")].flatMap((number) => {
  const boxes = [...number.children].filter((part) => part.textContent).map((part) => {
    const range = document.createRange();
    range.selectNodeContents(part);
    return range.getBoundingClientRect();
  });
  return boxes.some((box, index) => index && box.left < boxes[index - 1].right - 0.5) ? [number.textContent] : [];
})"""


def test_parts_of_numbers_do_not_cover_each_other(open_page, tmp_path):
    for seed, gained in enumerate((0.15, 0.17, 0.13)):
        write_run(tmp_path, "baseline", seed, {"scores": {"AP": 0.3 + seed / 10}})
        write_run(tmp_path, "frame_dual", seed, {"scores": {"AP": 0.3 + seed / 10 + gained}})
    report(OmegaConf.create({"runs": str(tmp_path), "output": None}))
    page = open_page(tmp_path / "report.html")
    assert page.locator("#table2 .clear").count() == 1
    assert page.evaluate(OVERLAPPING) == []


def test_rows_stay_low_on_a_phone(open_page, tmp_path):
    measured = {way: {"AP": 0.3} for way in ("scores", "cues", "letter", "letter_cues", "frames2", "frames3")}
    write_run(tmp_path, "baseline", 0, measured)
    report(OmegaConf.create({"runs": str(tmp_path), "output": None}))
    page = open_page(tmp_path / "report.html", viewport={"width": 400, "height": 900})
    assert page.locator("#runs tbody tr").bounding_box()["height"] < 60
