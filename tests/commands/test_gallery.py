"""`gallery` writes the page."""

from tests.commands.command_line import files, run


def test_gallery(tmp_path, capsys):
    assert run("gallery", "--out", tmp_path / "page") == 0
    written = files(tmp_path / "page")
    assert "index.html" in written
    assert f"{len(written)} files written" in capsys.readouterr().out
