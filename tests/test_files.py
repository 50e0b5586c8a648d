import pytest

from compfeat.files import folder_written_whole, read_json, written_whole


class Failed(Exception):
    pass


def test_where_writing_fails_nothing_is_left_and_an_older_file_stays(tmp_path):
    file, folder = tmp_path / "a.json", tmp_path / "new" / "split"
    file.write_text("old")
    with pytest.raises(Failed), written_whole(file) as partial:
        partial.write_text("half")
        raise Failed
    with pytest.raises(Failed), folder_written_whole(folder) as partial:
        (partial / "half.txt").write_text("half")
        raise Failed
    assert file.read_text() == "old"
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["a.json", "new"]


def test_two_may_write_the_same_at_once_and_others_can_read_it(tmp_path):
    file, folder = tmp_path / "a.json", tmp_path / "split"
    with written_whole(file) as first, written_whole(file) as second:
        first.write_text("1")
        second.write_text("2")
    assert file.read_text() == "1"
    plain = tmp_path / "plain"
    plain.write_text("")
    assert file.stat().st_mode == plain.stat().st_mode
    with folder_written_whole(folder) as partial:
        (partial / "a.txt").write_text("whole")
    with pytest.raises(OSError), folder_written_whole(folder) as partial:  # another one was faster
        (partial / "a.txt").write_text("late")
    assert (folder / "a.txt").read_text() == "whole"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.json", "plain", "split"]


@pytest.mark.parametrize("content", [b"[1, 2", b'["\xff"]', b"[" * 100_000, b""])
def test_what_is_not_json_is_named(tmp_path, content):
    path = tmp_path / "results.json"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=rf"^{path} is not json: "):
        read_json(path)
