"""`demo`: it runs out of the box, and its report says what was checked."""

import json

from tests.commands.command_line import files, run


def test_demo(tmp_path, capsys):
    for _ in range(2):  # again over its own results
        assert run("demo", "--out", tmp_path / "demo") == 0
    assert files(tmp_path / "demo") == ["augmented.nii.gz", "augmented_mask.nii.gz", "figure.png", "report.json"]
    report = json.loads((tmp_path / "demo" / "report.json").read_text())
    applied = {step["name"] for step in report["steps"] if step["applied"]}
    assert applied >= {"RandAffineElasticd", "RandHUContrastd", "RandCTDosed"}
    assert report["anatomy_preserved"] == "yes"
    assert report["pathology_preserved"] == "not checked"
    assert "by threshold" in capsys.readouterr().out
