"""The page of one video: what it holds, and how it behaves in a browser, from disk."""

import base64
import json
import re
import time
import zlib
from fractions import Fraction
from functools import partial

import av
import cv2
import numpy as np
import pytest
from pycocotools import mask as rle

from compfeat.findings.overlays import colour
from compfeat.findings.page import write_page
from compfeat.masks import decode_mask
from compfeat.media.sinks import write_video
from compfeat.structures import Tube

NAMES = ["cat", "dog", "<script>alert('fox')</script> & \"co\""]
SIZE = HEIGHT, WIDTH = 75, 101  # odd, as a video cannot be
TIMES = [0.0, 0.04, 0.2, 0.24, 0.4, 0.44, 0.6, 0.64, 0.8, 0.84, 1.0, 1.04]  # frames are not equally far apart


def tube(track_id, label, masks):
    """An object by its masks, uint8 ``[H, W]`` by frame; it is the surer the later."""
    made = Tube(track_id)
    for frame, mask in masks.items():
        encoded = rle.encode(np.asfortranarray(mask))
        x, y, width, height = rle.toBbox(encoded)
        score = 0.5 + frame / 30
        made.frames.append(frame)
        made.boxes.append((x, y, x + width, y + height))
        made.masks.append(encoded)
        made.classes.append([score * (label == other) for other in range(1, len(NAMES) + 1)])
    return made


def square(frame, top):
    """It moves by six pixels a frame and has a hole."""
    mask = np.zeros(SIZE, np.uint8)
    mask[top : top + 16, 4 + 6 * frame : 20 + 6 * frame] = 1
    mask[top + 5 : top + 11, 9 + 6 * frame : 15 + 6 * frame] = 0
    return mask


CAT = tube(7, 1, {frame: square(frame, 22) for frame in range(len(TIMES))})
DOG = tube(3, 2, {frame: square(frame, 52) for frame in (2, 3, 4, 8, 9)})
FOX = tube(12, 3, {frame: np.eye(*SIZE, dtype=np.uint8) for frame in range(5, 12)})
SECOND_DOG = tube(1, 2, {6: square(0, 52)})


def write_moving(path):
    """The squares of CAT and DOG, white on black, each frame at its time.

    Without frames that refer to later ones: with them Chromium mistakes how long a frame is shown where that differs.
    """
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"crf": "10", "bf": "0"})
        stream.width, stream.height, stream.pix_fmt = WIDTH + 1, HEIGHT + 1, "yuv420p"
        stream.codec_context.time_base = Fraction(1, 1000)
        for index, time in enumerate(TIMES):
            image = np.zeros((HEIGHT + 1, WIDTH + 1, 3), np.uint8)
            for shown in (CAT, DOG):
                if index in shown.frames:
                    image[:-1, :-1][decode_mask(shown.masks[shown.frames.index(index)]) > 0] = 255
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts, frame.time_base = round(1000 * time), Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def embedded(path):
    text = re.search(r'id="packed"[^>]*>([^<]*)<', path.read_text())[1]
    return json.loads(zlib.decompress(base64.b64decode(text)))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A page of four objects, one that holds none, one whose video is missing."""
    folder = tmp_path_factory.mktemp("page")
    write_moving(folder / "moving.mp4")
    tubes = [FOX, CAT, DOG, SECOND_DOG]
    write_page(folder / "page.html", folder / "moving.mp4", tubes, NAMES, TIMES, SIZE, "<b>moving</b>")
    write_page(folder / "none.html", folder / "moving.mp4", [], NAMES, TIMES, SIZE, "empty")
    write_page(folder / "gone.html", folder / "gone.mp4", tubes, NAMES, TIMES, SIZE, "gone")
    return folder


@pytest.fixture
def page(open_page, folder):
    return ready(open_page(folder / "page.html", viewport={"width": 1280, "height": 900}))


def ready(page):
    """Waits until all is there: the first frame, and what is drawn."""
    page.wait_for_function("document.getElementById('video').readyState >= 2 && document.querySelector('.cursor')")
    page.wait_for_function(
        "document.getElementById('ruler').children.length && !document.querySelector('video').seeking"
    )
    return page


def frame(page):
    return int(page.locator("#frame").inner_text())


def at_frame(page, number):
    """Waits until that frame is the current one; it is on the screen a little later."""
    page.wait_for_function(f"document.getElementById('frame').textContent === '{number}'")
    page.wait_for_function("!document.getElementById('video').seeking")


def eventually(check):
    """What is on the screen follows what was asked for, on a busy machine after a while."""
    end = time.monotonic() + 15
    while True:
        try:
            return check()
        except AssertionError:
            if time.monotonic() > end:
                raise


def picture(page):
    png = np.frombuffer(page.locator("#stage").screenshot(), np.uint8)
    return cv2.imdecode(png, cv2.IMREAD_COLOR_RGB).astype(int)


def tinted(image):
    return image.max(axis=2) - image.min(axis=2) > 40


def with_and_without_overlays(page):
    drawn = picture(page)
    page.keyboard.press("o")
    plain = picture(page)
    page.keyboard.press("o")
    return drawn, plain


def require_masks_upon_objects(page, number):
    """The picture is that frame's; what is white in it is tinted, and the holes are not."""
    eventually(lambda: _require_masks_upon_objects(page, number))


def _require_masks_upon_objects(page, number):
    drawn, plain = with_and_without_overlays(page)
    assert not tinted(plain).any()
    white = (plain > 128).all(axis=2).astype(np.uint8)
    assert white.any()
    scale = white.shape[1] / (WIDTH + 1)
    cat = white[round(23 * scale) : round(37 * scale)].any(axis=0)
    assert cat.argmax() / scale == pytest.approx(4 + 6 * number, abs=1)
    inside = cv2.erode(white, np.ones((9, 9), np.uint8)).astype(bool)
    assert tinted(drawn)[inside].mean() > 0.99
    regions, labels = cv2.connectedComponents(1 - white)
    holes = [labels == region for region in range(1, regions) if (labels == region).sum() < 0.05 * white.size]
    assert holes
    for hole in holes:
        assert not tinted(drawn)[cv2.erode(hole.astype(np.uint8), np.ones((15, 15), np.uint8)) > 0].any()


def middle(page, selector, share=0.5):
    box = page.locator(selector).bounding_box()
    return box["x"] + share * box["width"], box["y"] + box["height"] / 2


def seen(page):
    """The identities that are shown, as the boxes of the table say."""
    rows = page.locator("tbody tr:has(input:checked) th")
    return sorted(int(text) for text in rows.all_inner_texts())


def test_it_holds_what_was_found_and_finds_its_video(tmp_path):
    later = [10 + time for time in TIMES]
    write_page(tmp_path / "new" / "a.html", tmp_path / "my video #1.mp4", [FOX, CAT], NAMES, later, SIZE, "x")
    content = embedded(tmp_path / "new" / "a.html")
    assert content["times"] == [*TIMES, pytest.approx(1.08)]
    cat, fox = content["tracks"]  # in the order in which they come
    assert (cat["id"], cat["name"], cat["frames"], fox["name"]) == (7, "cat", CAT.frames, NAMES[2])
    assert [mask.encode() for mask in fox["masks"]] == [mask["counts"] for mask in FOX.masks]
    assert cat["colour"] == "#{:02x}{:02x}{:02x}".format(*colour(7))
    assert cat["boxes"][1] == [10, 22, 26, 38] and cat["scores"][3] == 0.6
    assert 'src="../my%20video%20%231.mp4"' in (tmp_path / "new" / "a.html").read_text()


def test_names_are_text_wherever_they_stand(folder):
    text = (folder / "page.html").read_text()
    assert "<script>alert" not in text and "<b>" not in text
    assert text.count("&lt;script&gt;alert(&#39;fox&#39;)&lt;/script&gt; &amp; &#34;co&#34;") >= 3
    assert "4 objects of 3 classes, 12 frames, 0:01.08, 101 × 75" in text


def test_a_page_without_objects_says_so(folder):
    text = (folder / "none.html").read_text()
    assert "There is nothing to show" in text and "<table" not in text
    assert "12 frames" in text and "0 objects" not in text


def test_what_does_not_fit_the_video_is_named(tmp_path):
    for times, size, message in [
        (TIMES[:11], SIZE, "object 7 is seen in frame 11 of a video of 11 frames"),
        (
            TIMES,
            (75, 100),
            r"object 7 has a mask of \(height, width\) \(75, 101\) in frame 0 of a video of \(75, 100\)",
        ),
    ]:
        with pytest.raises(ValueError, match=message):
            write_page(tmp_path / "a.html", tmp_path / "a.mp4", [CAT], NAMES, times, size, "x")
    assert list(tmp_path.iterdir()) == []


def test_900_frames_of_eight_objects_take_five_megabytes(tmp_path):
    def mask(number, frame):
        angle = np.linspace(0, 2 * np.pi, 120)
        radius = 100 * (1 + 0.3 * np.sin((3 + number) * angle + frame / 20) + 0.04 * np.sin(23 * angle + frame))
        points = np.stack([640 + frame % 300 + radius * np.cos(angle), 360 + radius * np.sin(angle)], axis=1)
        return cv2.fillPoly(np.zeros((720, 1280), np.uint8), [points.round().astype(np.int32)], 1)

    tubes = [tube(number, 1, {frame: mask(number, frame) for frame in range(15)}) for number in range(8)]
    write_page(tmp_path / "a.html", "a.mp4", tubes, NAMES, [frame / 30 for frame in range(15)], (720, 1280), "x")
    assert len((tmp_path / "a.html").read_text()) * 60 < 5_500_000 + 60 * 40_000  # of which 40 kB are the page itself


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 420])
@pytest.mark.parametrize("name", ["page", "none"])
def test_it_fits_the_window(open_page, folder, name, width, scheme):
    page = ready(open_page(folder / f"{name}.html", viewport={"width": width, "height": 900}, color_scheme=scheme))
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    red = int(page.evaluate("getComputedStyle(document.body).backgroundColor").split("(")[1].split(",")[0])
    assert (red < 60) == (scheme == "dark")
    ratio = page.locator("#stage").bounding_box()
    assert ratio["width"] / ratio["height"] == pytest.approx(102 / 76, rel=0.01)


def test_masks_are_those_of_the_frame_shown(page):
    require_masks_upon_objects(page, 0)
    for number in range(1, 6):
        page.keyboard.press("ArrowRight")
        require_masks_upon_objects(page, number)
    for key, number in [("End", 11), ("ArrowLeft", 10), ("Home", 0)]:
        page.keyboard.press(key)
        require_masks_upon_objects(page, number)
    for _ in range(4):  # faster than a seek
        page.keyboard.press("ArrowRight")
    require_masks_upon_objects(page, 4)


@pytest.mark.parametrize("able", [True, False])
def test_they_are_so_when_it_has_played(open_page, folder, browser, able):
    page = open_page(folder / "none.html")  # another page first: what the browser can do is taken away before the next
    if not able:
        page.add_init_script("delete HTMLVideoElement.prototype.requestVideoFrameCallback")
    page.goto((folder / "page.html").as_uri())
    ready(page)
    page.evaluate("document.getElementById('video').playbackRate = 0.2")  # a busy machine asks late
    page.keyboard.press("Space")
    page.wait_for_function("Number(document.getElementById('frame').textContent) >= 4")
    assert page.locator("#play").get_attribute("aria-label") == "Pause"
    page.keyboard.press("Space")
    page.locator("#play[aria-label='Play']").wait_for()
    eventually(lambda: _require_masks_upon_objects(page, frame(page)))
    shown = frame(page)
    page.keyboard.press("ArrowRight")
    require_masks_upon_objects(page, min(shown + 1, 11))


def test_masks_are_decoded_to_the_pixel(open_page, tmp_path):
    rng = np.random.default_rng(0)
    masks = {number: np.zeros((30, 40), np.uint8) for number in range(4)}
    masks[0][4:] = rng.integers(0, 2, (26, 40))  # pixels that touch at their corners, holes, all borders but the upper
    masks[1][:, 5:20] = 1  # runs that go on from column to column
    masks[1][10:14, 7:30] ^= 1
    masks[2][:, :] = 1
    masks[2][12, 12] = 0
    write_video(tmp_path / "grey.mp4", [np.full((30, 40, 3), 120, np.uint8)] * 4, 5)
    times = [number / 5 for number in range(4)]
    found = tube(0, 1, masks)
    write_page(tmp_path / "a.html", tmp_path / "grey.mp4", [found], NAMES, times, (30, 40), "pixels")
    page = ready(open_page(tmp_path / "a.html", viewport={"width": 1280, "height": 900}))

    def require(mask):
        drawn = tinted(picture(page))
        rows = ((np.arange(30) + 0.5) * len(drawn) / 30).astype(int)
        columns = ((np.arange(40) + 0.5) * drawn.shape[1] / 40).astype(int)
        below = 4  # the label, which stands in the uppermost rows
        assert np.array_equal(drawn[np.ix_(rows, columns)][below:], mask[below:].astype(bool))

    for mask in masks.values():
        eventually(partial(require, mask))
        page.keyboard.press("ArrowRight")


def test_overlays_go_and_come_as_a_whole_by_class_and_by_identity(page):
    page.mouse.click(*middle(page, "#ruler", 0.39))
    at_frame(page, 4)
    dogs, overlays = page.locator("[data-label='2']"), page.locator("#overlays")

    def cat_and_dog():
        image = picture(page)
        height = len(image) / 76
        return [bool(tinted(image[round(a * height) : round(b * height)]).any()) for a, b in ((23, 37), (56, 68))]

    require_masks_upon_objects(page, 4)
    page.mouse.move(0, 0)
    everything = picture(page)
    assert cat_and_dog() == [True, True]
    overlays.click()
    assert overlays.get_attribute("aria-pressed") == "false" and cat_and_dog() == [False, False]
    overlays.click()
    dogs.click()
    assert dogs.get_attribute("aria-pressed") == "false" and cat_and_dog() == [True, False]
    assert seen(page) == [7, 12]
    page.locator("tr[data-track] input").nth(1).click()  # the first dog again
    assert seen(page) == [3, 7, 12] and dogs.get_attribute("aria-pressed") == "mixed"
    page.get_by_label("Show 7, cat").click()
    assert seen(page) == [3, 12] and cat_and_dog() == [False, True]
    assert page.locator("#all").evaluate("box => box.indeterminate")
    page.locator("#all").click()
    assert seen(page) == [1, 3, 7, 12] and dogs.get_attribute("aria-pressed") == "true"
    page.locator("#all").click()
    assert seen(page) == [] and cat_and_dog() == [False, False]
    page.keyboard.press("Escape")
    page.mouse.move(0, 0)
    assert seen(page) == [1, 3, 7, 12] and np.array_equal(picture(page), everything)


def test_the_time_line_leads_to_frames_and_tracks(page):
    assert page.locator(".rows li .name").all_inner_texts()[1].split() == ["3", "dog"]
    page.mouse.click(*middle(page, "#ruler", 0.95))
    at_frame(page, 10)
    assert page.locator("#ruler").get_attribute("aria-valuetext") == "frame 10, 0:01.00"
    cursor = page.locator(".cursor").bounding_box()["x"]
    assert cursor == pytest.approx(middle(page, "#ruler", 1.0 / 1.08)[0], abs=2)

    page.mouse.move(*middle(page, "#ruler", 0.9))  # pulled back to the beginning
    page.mouse.down()
    page.mouse.move(*middle(page, "#ruler", 0.5))
    page.mouse.move(*middle(page, "#ruler", 0.001))
    page.mouse.up()
    at_frame(page, 0)

    lane = ".rows li:nth-child(2) canvas"
    page.mouse.click(*middle(page, lane, 0.6))  # beside the bars: nothing but a seek
    at_frame(page, 7)
    assert seen(page) == [1, 3, 7, 12]
    page.mouse.click(*middle(page, lane, 0.78))  # a bar
    at_frame(page, 2)
    assert seen(page) == [3]
    name = page.locator(".rows li .name").nth(1)
    assert name.get_attribute("aria-pressed") == "true"
    name.click()
    assert seen(page) == [1, 3, 7, 12] and frame(page) == 2
    page.locator("tbody .name").last.click()
    at_frame(page, 6)
    assert seen(page) == [1]
    page.keyboard.press("7")
    at_frame(page, 0)
    assert seen(page) == [7]
    page.keyboard.press("7")
    assert seen(page) == [1, 3, 7, 12]


def test_bars_are_where_a_track_is_seen_and_as_high_as_it_is_sure(page):
    png = np.frombuffer(page.locator(".rows li:nth-child(2) canvas").screenshot(), np.uint8)
    lane = tinted(cv2.imdecode(png, cv2.IMREAD_COLOR_RGB).astype(int))

    def height(time):
        return lane[:, round(time / 1.08 * lane.shape[1])].mean()

    assert [height(time) > 0 for time in (0.1, 0.22, 0.42, 0.5, 0.7, 0.82, 0.9, 1.05)] == [
        *(False, True, True, False),
        *(False, True, True, False),
    ]
    assert height(0.9) == pytest.approx(0.8, abs=0.08) and height(0.22) == pytest.approx(0.57, abs=0.08)


def test_the_table_is_sorted_by_any_column(page):
    def column(number):
        return [cells[number] for cells in page.locator("tbody tr").evaluate_all(
            "rows => rows.map(row => [...row.cells].map(cell => cell.textContent.trim()))"
        )]  # fmt: skip

    assert column(1) == ["7", "3", "12", "1"]
    headers = page.locator("th[data-column]")
    assert headers.count() == 7
    for index in range(headers.count()):
        header = headers.nth(index)
        header.locator("button").click()
        order = header.get_attribute("aria-sort")
        header.locator("button").focus()
        values = column(index + 1)
        if index != 1:
            values = [float(value.replace(",", "")) for value in values]
        assert order == ("ascending" if index == 1 else "descending")
        assert values == (sorted(values, reverse=index != 1) if index != 1 else values)
        page.keyboard.press("Enter")
        assert header.get_attribute("aria-sort") != order and page.locator("[aria-sort]").count() == 1
        if index != 1:
            assert [float(value.replace(",", "")) for value in column(index + 1)] == sorted(values)


def test_the_arrow_of_the_sorted_column_is_not_hidden_by_the_next(page):
    def column_at(x):
        y = button["y"] + button["height"] / 2
        return page.evaluate("at => document.elementFromPoint(...at)?.closest('th').dataset.column", [x, y])

    button = page.locator("th[aria-sort] button").bounding_box()
    assert column_at(button["x"] + button["width"] + 9) == "4"
    page.locator("[data-column='7'] button").click()
    arrow = "getComputedStyle(document.querySelector('th[aria-sort] button'), '::after').content"
    assert page.evaluate(arrow) == '"↓"'  # also while the mouse is on it
    button = page.locator("th[aria-sort] button").bounding_box()
    assert column_at(button["x"] - 9) == "7"  # the last has its arrow before it: nothing of it is cut off


def test_the_dot_of_a_class_stays_beside_its_name(open_page, tmp_path):
    names = ["a_name_of_a_class_without_any_break_" * 3]
    write_page(tmp_path / "page.html", tmp_path / "moving.mp4", [CAT], names, TIMES, SIZE, "long")
    write_moving(tmp_path / "moving.mp4")
    page = ready(open_page(tmp_path / "page.html", viewport={"width": 390, "height": 900}))
    switch = page.locator(".classes .switch")
    assert switch.evaluate("one => one.clientWidth <= one.parentElement.clientWidth")
    lines = "one => one.clientHeight / parseFloat(getComputedStyle(one).lineHeight)"
    dot = switch.evaluate("one => getComputedStyle(one, '::before').display")
    assert dot == "block" and switch.evaluate(lines) < 6


def test_the_keyboard_alone_is_enough(page):
    reached = []
    for _ in range(60):
        page.keyboard.press("Tab")
        element = page.evaluate(
            "(({activeElement: one}) => [one.tagName, one.getAttribute('aria-label') || one.textContent.trim(),"
            " getComputedStyle(one).outlineStyle])(document)"
        )
        if element[0] == "BODY":
            break
        reached.append(element)
    names = [name for _, name, _ in reached]
    assert names[:5] == ["One frame back", "Play", "One frame forward", "Overlays", names[4]]
    assert "Show 3, dog" in names and "Frame" in names and "score" in names
    assert all(name and outline == "solid" for _, name, outline in reached)

    page.get_by_label("Show 3, dog").focus()
    page.keyboard.press("Space")  # presses what has the focus, and plays nothing
    assert seen(page) == [1, 7, 12] and page.evaluate("document.querySelector('video').paused")
    page.locator("#forward").click()  # with the mouse, which leaves no focus behind
    at_frame(page, 1)
    page.keyboard.press("Space")
    page.wait_for_function("!document.querySelector('video').paused")


def test_a_video_that_is_missing_is_named(browser, folder):
    page = browser.new_page()
    page.goto((folder / "gone.html").as_uri())
    page.get_by_role("alert").wait_for()
    assert page.get_by_role("alert").inner_text() == "gone.mp4 is not beside this page, or cannot be played here."
    page.keyboard.press("o")
    assert page.locator("#overlays").get_attribute("aria-pressed") == "false"
    page.close()
