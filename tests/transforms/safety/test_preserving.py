"""PreservingCompose: verdicts that are computed, violations that are eased, rejected or said."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from monai.data import MetaTensor, get_track_meta, list_data_collate, set_track_meta
from monai.transforms import (
    Affined,
    CenterSpatialCropd,
    Compose,
    Invertd,
    MapTransform,
    RandFlipd,
    RandSpatialCropSamplesd,
)

from monai_medaug.core.tensors import tracking
from monai_medaug.transforms import (
    Batched,
    PreservingCompose,
    RandAffineElastic,
    RandAffineElasticd,
    RandCTDosed,
    augmentation_report,
    replay,
)
from monai_medaug.transforms.safety import preserving


class Lose(MapTransform):
    """Deletes half of a mask's columns: a transform that harms."""

    def __call__(self, data):
        out = dict(data)
        for key in self.keys:
            x = data[key].clone()
            x[..., x.shape[-1] // 2 :] = 0
            out[key] = x
        return out


def body(shape=(48, 44, 40), affine=None):
    axes = np.meshgrid(*[np.linspace(-1, 1, n) for n in shape], indexing="ij")
    r = np.sqrt(sum(a**2 for a in axes))
    label = (r < 0.7).astype(np.uint8) + (r < 0.4)
    lesion = (np.sqrt(sum((a - 0.05) ** 2 for a in axes)) < 0.25).astype(np.uint8)
    image = np.where(label > 0, 40.0, -1000.0) + 60 * lesion + np.random.RandomState(0).normal(0, 5, shape)
    to = lambda x: MetaTensor(torch.from_numpy(x[None]), affine=torch.eye(4).double() if affine is None else affine)  # noqa: E731
    return {"image": to(image.astype(np.float32)), "label": to(label), "lesion": to(lesion)}


def deform(**kw):
    settings = {"prob": 1.0, "mode": ("bilinear", "nearest", "nearest"), "elastic_sigma": 4, **kw}
    return RandAffineElasticd(("image", "label", "lesion"), **settings)


def verdict_of(out, key="label"):
    return out[key].applied_operations[-1]["extra_info"]


@pytest.mark.parametrize("shape", [(64, 60), (48, 44, 40)])
def test_preserved_anatomy_is_confirmed_by_figures(shape):
    t = PreservingCompose([deform(elastic_alpha=20)], "label", "lesion").set_random_state(1)
    info = verdict_of(t(body(shape)))
    assert info["verdict"]["anatomy"] == info["verdict"]["pathology"] == "yes"
    assert not info["rejected"]
    assert info["verdict"]["checks"]["lesion share kept"] == 1.0
    assert set(info["verdict"]["checks"]["label: volume change"]) == {"1", "2"}


@pytest.mark.parametrize("scale", [-0.2, 0.2])
def test_the_scaling_asked_for_is_no_violation(scale):
    t = deform(elastic_alpha=0, scale_fraction=(scale, scale), rotate_degrees=0, translate_fraction=0)
    info = verdict_of(PreservingCompose([t], "label", "lesion", max_volume_change=0.03)(body()))
    assert info["strength"] == 1.0
    changes = info["verdict"]["checks"]["label: volume change"].values()
    assert max(abs(c) for c in changes) < 0.05


def test_shrink_eases_the_same_draw_until_it_fits():
    data = body()
    strict = PreservingCompose([deform()], "label", max_volume_change=0.025).set_random_state(3)
    out = strict(data)
    info = verdict_of(out)
    assert 0 < info["strength"] < 1
    assert not info["rejected"]
    free = PreservingCompose([deform()], "label", max_volume_change=10).set_random_state(3)(data)
    eased, full = (o["image"].applied_operations[0]["extra_info"]["params"] for o in (out, free))
    assert eased["seed"] == full["seed"]
    assert eased["rotate_axis"] == full["rotate_axis"]
    assert eased["rotate_degrees"] == pytest.approx(info["strength"] * full["rotate_degrees"])
    assert eased["scale"] - 1 == pytest.approx(info["strength"] * (full["scale"] - 1))
    assert strict.transforms[0].operation.strength == 1.0


@pytest.mark.parametrize("mode", ["shrink", "reject"])
def test_harm_that_cannot_be_eased_returns_the_input(mode):
    data = body()
    t = PreservingCompose([deform(), Lose("label")], "label", "lesion", on_violation=mode).set_random_state(0)
    out = t(data)
    for key in data:
        assert torch.equal(out[key].as_tensor(), data[key].as_tensor())
        assert not data[key].applied_operations
    info = verdict_of(out)
    assert info["rejected"]
    assert info["verdict"]["anatomy"] == "no"
    report = augmentation_report(out)
    assert report["anatomy_preserved"] == "no"
    assert report["rejected"]
    assert "rejected" in str(report)
    back = t.inverse(out)
    assert all(torch.equal(back[k].as_tensor(), data[k].as_tensor()) for k in data)
    assert not back["image"].applied_operations


def test_warn_keeps_the_result_and_says_so():
    t = PreservingCompose([Lose("label")], "label", on_violation="warn")
    with pytest.warns(UserWarning, match="volume of label 2"):
        out = t(body())
    assert not out["label"][..., 20:].any()
    assert augmentation_report(out)["anatomy_preserved"] == "no"


def test_without_labels_nothing_is_claimed():
    t = PreservingCompose([RandCTDosed("image", prob=1.0)], None)
    report = augmentation_report(t({"image": body()["image"]}))
    assert report["anatomy_preserved"] == report["pathology_preserved"] == "not checked"
    empty = body()
    empty["label"], empty["lesion"] = empty["label"] * 0, empty["lesion"] * 0
    report = augmentation_report(PreservingCompose([deform()], "label", "lesion")(empty))
    assert report["anatomy_preserved"] == report["pathology_preserved"] == "not checked"


def test_a_lesion_pushed_out_of_the_image_is_a_violation():
    data = body()
    data["lesion"] = torch.zeros_like(data["lesion"])
    data["lesion"][:, :8, 10:20, 10:20] = 1
    push = deform(elastic_alpha=0, translate_fraction=(-0.1, -0.1), rotate_degrees=0, scale_fraction=0)
    info = verdict_of(PreservingCompose([push], None, "lesion", on_violation="reject")(data))
    assert info["verdict"]["pathology"] == "no"
    kept = info["verdict"]["checks"]["lesion share kept"]
    assert kept == pytest.approx(3 / 8, abs=0.01)  # 0.1 of 48 voxels is 4.8: planes 0 to 4 leave
    assert verdict_of(PreservingCompose([push], None, "lesion")(data))["strength"] < 1


def test_what_is_not_eased_is_done_once(monkeypatch):
    """Geometry before noise that is eased stands, and all is as if it had been done again."""
    maps, real = [], RandAffineElastic.plan.__func__

    def counted(cls, call):
        maps.append(real(cls, call))
        return maps[-1]

    monkeypatch.setattr(RandAffineElastic, "plan", classmethod(counted))
    data = body()

    def guarded():
        steps = [deform(elastic_alpha=20, rotate_degrees=2), RandCTDosed("image", noise_hu=150, prob=1.0)]
        return PreservingCompose(steps, "label", "lesion").set_random_state(0)

    out = guarded()(data)
    assert verdict_of(out, "image")["eased"].keys() == {"intensity"}
    assert len(maps) == 1
    monkeypatch.setattr(preserving, "_moves_alone", lambda _: False)
    again = guarded()(data)
    assert len(maps) > 2
    assert verdict_of(again, "image")["verdict"] == verdict_of(out, "image")["verdict"]
    assert all(torch.equal(again[k].as_tensor(), out[k].as_tensor()) for k in data)


def test_noise_that_drowns_the_lesion_is_eased():
    data = body()
    loud = RandCTDosed("image", noise_hu=400, prob=1.0)
    info = verdict_of(PreservingCompose([loud], None, "lesion").set_random_state(0)(data), "lesion")
    assert info["strength"] < 1
    before, after = info["verdict"]["checks"]["image: lesion contrast to noise"]
    assert after >= min(0.5 * before, 3) > 0


def test_a_split_lesion_is_seen():
    whole = torch.zeros(1, 20, 20)
    whole[:, 5:15, 5:15] = 1

    class Split(MapTransform):
        def __call__(self, data):
            x = data["lesion"].clone()
            x[:, 9:11] = 0
            return {**data, "lesion": x}

    t = PreservingCompose([Split("lesion")], None, "lesion", on_violation="warn", min_lesion_kept=0)
    with pytest.warns(UserWarning, match="components went from 1 to 2"):
        t({"lesion": MetaTensor(whole)})


def test_monai_steps_inside_are_run_and_inverted():
    data = body()
    t = PreservingCompose(
        [deform(elastic_alpha=20), RandFlipd(list(data), prob=1.0, spatial_axis=0)], "label", "lesion"
    )
    t.set_random_state(0)
    out = t(data)
    assert verdict_of(out)["verdict"]["anatomy"] == "yes"
    back = Invertd("pred", t, orig_keys="label", nearest_interp=True)({**out, "pred": out["label"].clone()})["pred"]
    dice = 2 * ((back > 0) & (data["label"] > 0)).sum() / ((back > 0).sum() + (data["label"] > 0).sum())
    assert dice > 0.97
    again = replay(data, augmentation_report(out), transform=t)
    assert torch.equal(again["image"].as_tensor(), out["image"].as_tensor())
    with pytest.raises(ValueError, match="RandFlipd"):
        replay(data, augmentation_report(out))


def test_bare_arrays_come_back_as_arrays():
    data = {k: v.numpy() for k, v in body().items()}
    out = PreservingCompose([deform(elastic_alpha=20)], "label", "lesion").set_random_state(0)(data)
    assert all(isinstance(out[k], np.ndarray) for k in data)
    assert out["label"].dtype == np.uint8
    assert (out["image"] != data["image"]).any()


def test_it_works_inside_a_compose_and_repeats_by_seed():
    data = body()
    chain = Compose([PreservingCompose([deform()], "label")])
    a = chain.set_random_state(5)(data)
    b = chain.set_random_state(5)(data)
    c = chain(data)
    assert torch.equal(a["image"].as_tensor(), b["image"].as_tensor())
    assert not torch.equal(c["image"].as_tensor(), b["image"].as_tensor())
    assert chain.inverse(a)["image"].applied_operations == []


def test_bad_arguments_are_named():
    with pytest.raises(ValueError, match="on_violation"):
        PreservingCompose([], "label", on_violation="ignore")
    with pytest.raises(ValueError, match="max_volume_change"):
        PreservingCompose([], "label", max_volume_change=-1)
    with pytest.raises(TypeError, match="data must be a dictionary"):
        PreservingCompose([RandAffineElastic()], None)(torch.zeros(1, 4, 4))


def test_a_lesion_that_monai_or_a_crop_takes_away_is_seen():
    data = body()
    push = Affined(
        list(data), translate_params=(18, 0, 0), padding_mode="zeros", mode=("bilinear", "nearest", "nearest")
    )
    crop = CenterSpatialCropd(list(data), roi_size=(48, 44, 20))
    half = body()
    half["lesion"] = torch.roll(half["lesion"], 10, -1)
    for step, sample in ((push, {**data, "lesion": torch.roll(data["lesion"], -10, 1)}), (crop, half)):
        report = augmentation_report(PreservingCompose([step], None, "lesion", on_violation="reject")(sample))
        assert report["pathology_preserved"] == "no"


def test_padding_that_makes_lesion_is_seen():
    data = body()
    data["lesion"] = torch.zeros_like(data["lesion"])
    data["lesion"][:, :10, 10:20, 10:20] = 1
    push = deform(elastic_alpha=0, translate_fraction=(0.1, 0.1), rotate_degrees=0, scale_fraction=0)
    with pytest.warns(UserWarning, match="is padding"):
        PreservingCompose([push], None, "lesion", on_violation="warn")(data)


def test_labels_that_were_not_there_are_seen():
    blended = RandAffineElasticd(("image", "label"), prob=1.0, elastic_sigma=4, rotate_degrees=(5, 5))
    with pytest.warns(UserWarning, match="new labels"):
        PreservingCompose([blended], "label", on_violation="warn").set_random_state(0)(body())


def test_masks_that_are_none_are_refused():
    data = body()
    with pytest.raises(ValueError, match="whole numbers"):
        PreservingCompose([deform()], "label")({**data, "label": data["label"] + 0.5})
    with pytest.raises(KeyError, match="lable"):
        PreservingCompose([deform()], "lable")(data)
    with pytest.raises(ValueError, match="multi-sample"):
        PreservingCompose([RandSpatialCropSamplesd(list(data), (20, 20, 20), 2)], "label")(data)


def test_one_bad_verdict_spoils_the_report_and_later_geometry_is_not_covered():
    data = body()
    good = PreservingCompose([deform(elastic_alpha=20)], "label").set_random_state(0)
    with pytest.warns(UserWarning, match="volume"):
        both = Compose([good, PreservingCompose([Lose("label")], "label", on_violation="warn")])(data)
    assert augmentation_report(both)["anatomy_preserved"] == "no"
    later = Compose([good, deform()])(data)
    assert augmentation_report(good(data))["anatomy_preserved"] == "yes"
    assert augmentation_report(later)["anatomy_preserved"] == "not checked"


def test_replay_repeats_what_followed_a_rejected_call():
    chain = Compose(
        [PreservingCompose([Lose("label")], "label", on_violation="reject"), RandCTDosed("image", prob=1.0)]
    )
    data = body()
    out = chain.set_random_state(0)(data)
    assert torch.equal(replay(data, augmentation_report(out))["image"].as_tensor(), out["image"].as_tensor())


@pytest.mark.parametrize("bare", [False, True])
def test_the_guard_judges_without_meta_data_too(bare):
    """MONAI's tutorials switch them off; the lesion at the border is then eased by the same share."""
    data = body()
    data["lesion"] = torch.roll(data["lesion"], 14, 1)
    push = deform(elastic_alpha=0, translate_fraction=(0.15, 0.2), rotate_degrees=0, scale_fraction=0, padding_mode=0)
    guard = PreservingCompose([push], "label", "lesion")
    expected = guard.set_random_state(0)(data)
    assert verdict_of(expected)["strength"] < 1
    given = {k: v.as_tensor() for k, v in data.items()} if bare else data
    set_track_meta(False)
    try:
        out = guard.set_random_state(0)(given)
        assert get_track_meta() is False
    finally:
        set_track_meta(True)
    assert all(torch.equal(out[k], expected[k].as_tensor()) for k in data)
    assert not any(isinstance(v, MetaTensor) for v in out.values())


def test_the_guard_judges_without_tracing_too():
    data = body()
    data["lesion"] = torch.roll(data["lesion"], 14, 1)
    push = deform(elastic_alpha=0, translate_fraction=(0.15, 0.2), rotate_degrees=0, scale_fraction=0, padding_mode=0)
    guard = PreservingCompose([push], "label", "lesion")
    expected = guard.set_random_state(0)(data)
    push.tracing = False
    out = guard.set_random_state(0)(data)
    assert torch.equal(out["lesion"], expected["lesion"])
    assert push.tracing is False


def test_meta_data_are_off_again_when_all_threads_are_done():
    set_track_meta(False)
    try:
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(_track_twice, range(200)))
        assert get_track_meta() is False
    finally:
        set_track_meta(True)


def _track_twice(_: int) -> None:
    with tracking(everywhere=True), tracking(everywhere=True):
        assert get_track_meta()


def test_a_guard_of_our_own_steps_leaves_other_threads_alone():
    seen = []

    class Looks(RandAffineElasticd):
        def __call__(self, data):
            with ThreadPoolExecutor(1) as pool:
                seen.append(pool.submit(get_track_meta).result())
            return super().__call__(data)

    step = Looks(("image", "label", "lesion"), prob=1.0, mode=("bilinear", "nearest", "nearest"), elastic_alpha=0)
    set_track_meta(False)
    try:
        PreservingCompose([step], "label")(body())
    finally:
        set_track_meta(True)
    assert seen
    assert not any(seen)


@pytest.mark.parametrize("mode", ["shrink", "reject"])
@pytest.mark.parametrize("bare", [False, True])
def test_on_a_batch_only_samples_with_a_violation_go_again(mode, bare, monkeypatch):
    """Sample 1 holds a lesion that noise drowns; all equal what they are on their own."""
    data = [body() for _ in range(3)]
    for i in (0, 2):
        data[i]["image"] = data[i]["image"] + 700 * data[i]["lesion"]
    steps = [deform(elastic_alpha=20), RandCTDosed("image", noise_hu=(40, 50), prob=1.0)]
    guard = PreservingCompose(steps, "label", "lesion", on_violation=mode)
    guard.set_random_state(3)
    wanted = [guard(d) for d in data]
    outcomes = [verdict_of(o, "lesion")["strength"] < 1 or verdict_of(o, "lesion")["rejected"] for o in wanted]
    assert outcomes == [False, True, False]
    calls = []
    judged = PreservingCompose._judged
    monkeypatch.setattr(PreservingCompose, "_judged", lambda *a: calls.append(1) or judged(*a))
    batch = list_data_collate(data)
    if bare:
        batch = {k: v.as_tensor() for k, v in batch.items()}
    out = Batched(guard).set_random_state(3)(batch)
    assert len(calls) == 1
    assert isinstance(out["image"], MetaTensor) != bare
    for i, single in enumerate(wanted):
        for key in single:
            torch.testing.assert_close(torch.as_tensor(out[key][i]), single[key].as_tensor(), rtol=0, atol=1e-2)
            if not bare:
                own = [r["class"] for r in out[key].applied_operations[i]]
                assert own == [r["class"] for r in single[key].applied_operations]
    assert torch.equal(torch.as_tensor(batch["image"][1]), data[1]["image"].as_tensor())


def test_bare_masks_of_a_batch_lie_where_the_image_lies():
    """As on single samples: a mask without an affine takes that of the image."""
    affine = torch.diag(torch.tensor([2.0, 1, 1, 1], dtype=torch.float64))
    data = [{k: v if k == "image" else v.as_tensor() for k, v in body(affine=affine).items()} for _ in range(2)]
    guard = PreservingCompose([deform(rotate_degrees=(20, 20), elastic_alpha=0)], "label", "lesion")
    guard.set_random_state(0)
    wanted = [guard(d) for d in data]
    out = Batched(guard).set_random_state(0)(list_data_collate(data))
    for i, single in enumerate(wanted):
        assert torch.equal(torch.as_tensor(out["label"][i]), single["label"])
        assert augmentation_report(out["image"])[i]["checks"] == augmentation_report(single["image"])["checks"]
