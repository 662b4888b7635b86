"""What the README shows runs as it stands."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from monai.bundle import ConfigParser
from monai.data import CacheDataset, DataLoader, MetaTensor

import monai_medaug
from tests.contract.cases import EVERY_CASE
from tests.scan_files import write_nifti
from tests.transforms.safety.test_preserving import body

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)


def block(word: str) -> str:
    """The first Python block with a word in it."""
    return next(text for text in blocks("python") if word in text)


def test_the_table_names_every_operation():
    for case in EVERY_CASE:
        assert f"`{case.cls.__name__}`" in README, f"{case} is missing in the table of transforms"


def test_compose_loads_and_augments_a_scan(tmp_path):
    scope: dict = {}
    exec(block("Compose("), scope)
    data = body()
    for key in ("image", "label"):
        write_nifti(tmp_path / f"{key}.nii.gz", data[key][0].numpy(), np.eye(4))
    out = scope["augment"]({key: str(tmp_path / f"{key}.nii.gz") for key in ("image", "label")})
    assert out["image"].shape == data["image"].shape


def test_report_replay_and_inverse():
    data = body()
    scope = {"data": {"image": data["image"], "organs": data["label"], "tumour": data["lesion"]}}
    exec(block("replay("), scope)
    assert scope["report"]["anatomy_preserved"] in ("yes", "no")
    assert torch.equal(scope["same"]["image"].as_tensor(), scope["out"]["image"].as_tensor())
    assert scope["back"]["image"].applied_operations == []


def test_a_trained_network_enlarges():
    scope: dict = {}
    exec(block("load_pretrained"), scope)
    assert scope["finer"]({"image": torch.rand(1, 16, 14)})["image"].shape == (1, 32, 28)


def test_generated_images_are_judged(monkeypatch):
    """The block as it stands, but for the report, which has tests of its own."""
    from monai_medaug import experiments

    given = []
    monkeypatch.setattr(experiments, "generation_report", lambda *sets, out_dir: given.append((sets, out_dir)))
    scope = {name: name for name in ("training", "held_out", "training_patients", "held_out_patients")}
    exec("from monai_medaug.bundles import load_pretrained\n" + block("generation_report"), scope)
    ((samples, *others), out_dir) = given[0]
    assert samples.shape == (600, 1, 32, 32)
    assert (others, out_dir) == (["training", "held_out", "training_patients", "held_out_patients"], "report")


def test_policies():
    scope: dict = {}
    exec(block("MedTrivialAugmentd"), scope)
    data = body()
    for name in ("trivial", "learned"):
        out = scope[name]({"image": data["image"], "label": data["label"]})
        assert out["image"].shape == data["image"].shape
    for name in ("rand", "adaptive"):
        assert scope[name]({"image": data["image"][..., 0]})["image"].shape == data["image"].shape[:-1]


def test_trainer():
    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(256, 2))
    items = [{"image": torch.rand(1, 16, 16) + i, "label": torch.tensor(i % 2), "id": i} for i in range(4)]
    settings = {
        "device": torch.device("cpu"),
        "max_epochs": 1,
        "train_data_loader": DataLoader(items, batch_size=4),
        "network": network,
        "optimizer": torch.optim.Adam(network.parameters()),
        "loss_function": torch.nn.CrossEntropyLoss(),
        "decollate": False,
    }
    scope = {"network": network, "settings": settings}
    exec(block("trainer"), scope)
    scope["trainer"].run()
    assert scope["trainer"].state.output["label"].shape == (4, 2)


def test_sample_seeds():
    scope: dict = {}
    exec(block("sample_key"), scope)
    one, two = (scope["augment"]({"image": torch.rand(1, 16, 16), "id": "a"}) for _ in range(2))
    assert one["image"].shape == two["image"].shape


def test_strategies_are_compared(tmp_path, monkeypatch):
    pytest.importorskip("ignite")
    text = block("compare_strategies").replace('"comparison",', '"comparison", seeds=1, epochs=1, progress=False,')
    items = [{"image": torch.rand(1, 32, 32), "label": (torch.rand(1, 32, 32) > 0.5).byte()} for _ in range(3)]
    monkeypatch.chdir(tmp_path)
    scope = {"training": items[:1], "test": items[1:2], "other_hospital": items[2:]}
    exec(text, scope)
    assert list(scope["found"]["tests"]) == ["in domain", "shifted"]
    assert Path("comparison/comparison.png").is_file()


def test_pictures_are_there():
    for path in re.findall(r"!\[[^]]*]\(([^)]+)\)", README):
        assert (Path(__file__).parents[1] / path).is_file()


def test_bundle_config():
    config = json.loads(blocks("json")[0]) | {"data": [{k: v for k, v in body().items() if k != "lesion"}]}
    parser = ConfigParser(config)
    dataset = parser.get_parsed_content("dataset")
    assert isinstance(dataset, CacheDataset)
    assert isinstance(dataset[0]["image"], MetaTensor)
    assert monai_medaug.transforms.augmentation_report(dataset[0])["settings"]["strength"] == "standard"


def scan_files(folder: Path) -> dict[str, str]:
    data = body((130, 120, 120))
    for key in ("image", "label"):
        write_nifti(folder / f"{key}.nii.gz", data[key][0].numpy(), np.diag([1.2, 1.2, 1, 1]))
    return {key: str(folder / f"{key}.nii.gz") for key in ("image", "label")}


def test_the_place_in_a_pipeline(tmp_path):
    scope: dict = {}
    exec(blocks("python")[-1], scope)
    crops = scope["train"].set_random_state(0)(scan_files(tmp_path))
    assert len(crops) == 4
    assert all(crop["image"].shape == (1, 64, 64, 32) for crop in crops)
    assert all(-0.5 < float(crop["image"].min()) < float(crop["image"].max()) < 1.5 for crop in crops)


def test_the_place_in_a_bundle(tmp_path):
    load = [{"_target_": "LoadImaged", "keys": ["image", "label"]}]
    scaled = {"_target_": "ScaleIntensityRanged", "keys": "image", "a_min": -57, "a_max": 164, "b_min": 0, "b_max": 1}
    train = {
        "train": {
            "random_transforms": [*load, {"_target_": "EnsureChannelFirstd", "keys": ["image", "label"]}, scaled],
            "preprocessing": {"_target_": "Compose", "transforms": "$@train#random_transforms"},
        }
    }
    (tmp_path / "train.json").write_text(json.dumps(train))
    (tmp_path / "medaug.json").write_text(blocks("json")[-1])
    parser = ConfigParser()
    parser.read_config([str(tmp_path / "train.json"), str(tmp_path / "medaug.json")])
    out = parser.get_parsed_content("train#preprocessing")(scan_files(tmp_path))
    assert out["label"].applied_operations[-1]["class"] == "ct_augmentation"
