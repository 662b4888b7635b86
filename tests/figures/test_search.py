"""The picture of a search."""

import json

import numpy as np
import pytest

from monai_medaug.figures import plot_search


def trial(number, score, state="complete", **constraints):
    steps = [
        {"operation": "rotate", "probability": 0.5, "magnitude": 0.2 + number / 10},
        {"operation": "gamma", "probability": 1.0, "magnitude": 0.5},
    ]
    policy = {"sub_policies": [{"weight": 1.0, "steps": steps}, {"weight": 3.0, "steps": steps[1:]}]}
    return {"number": number, "state": state, "score": score, "constraints": constraints, "policy": policy}


def test_points_and_the_best_so_far():
    trials = [trial(0, 0.5), trial(2, 0.4), trial(1, 0.7, "pruned"), trial(3, 0.9, violations=0.1), trial(4, 0.8)]
    left, right = plot_search({"trials": trials}).axes[:2]
    points = {c.get_label(): c.get_offsets().tolist() for c in left.collections}
    assert points == {"complete": [[0, 0.5], [2, 0.4], [4, 0.8]], "pruned": [[1, 0.7]]}
    assert left.lines[0].get_ydata().tolist() == [0.5, 0.5, 0.8]
    assert [t.get_text().split("\n")[0] for t in right.get_xticklabels()] == ["trial 4", "trial 0", "trial 2"]
    assert [t.get_text() for t in right.get_yticklabels()] == ["rotate", "gamma"]
    rotate, gamma = right.collections[:2]
    np.testing.assert_allclose(rotate.get_sizes(), 300 * 0.125)  # half of a quarter of the samples
    np.testing.assert_allclose(gamma.get_sizes(), 300 * 1.0)
    np.testing.assert_allclose(rotate.get_array(), [0.6, 0.2, 0.4])


def test_a_search_without_a_score_is_drawn_and_another_thing_refused(tmp_path):
    plot_search({"trials": [trial(0, None, "failed")]}, tmp_path / "search.png")
    assert (tmp_path / "search.png").read_bytes()[:4] == b"\x89PNG"
    for wrong in ({}, [], json.dumps({"trials": []})):
        with pytest.raises(ValueError, match="search must be that of search_policy"):
            plot_search(wrong)
