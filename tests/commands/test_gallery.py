"""`gallery` writes the page; what stands on it is tested in `tests/figures/gallery`."""

from monai_medaug.figures import gallery
from tests.commands.command_line import files, run


def test_gallery(tmp_path, capsys, monkeypatch):
    asked = []

    def write_one(folder):
        asked.append(folder)
        folder.mkdir()
        (folder / "index.html").write_text("a page")
        return [folder / "index.html"]

    monkeypatch.setattr(gallery, "write_gallery", write_one)  # the page of all transforms takes half a minute
    assert run("gallery", "--out", tmp_path / "page") == 0
    assert asked == [tmp_path / "page"]
    assert files(tmp_path / "page") == ["index.html"]
    assert "1 files written" in capsys.readouterr().out
