"""The hooks in processes of their own: a bundle config, and distributed training."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from .radiographs import radiographs

pytest.importorskip("ignite")
pytest.importorskip("fire")

ROOT = Path(__file__).parents[2]
BUNDLE = {
    "imports": ["$import torch", "$import monai_medaug", "$import tests.engines.radiographs as radiographs"],
    "network": "$radiographs.small_net()",
    "exposure": {"_target_": "RandXRayExposured", "keys": "image", "value_range": [0, 1], "prob": 0.5},
    "attack": {"_target_": "FGSMAttackd", "keys": "image", "network": "@network", "target_key": "label"},
    "mix": {"_target_": "BatchMixd", "keys": "image", "label_keys": "label", "num_classes": 2},
    "adversarial": {"_target_": "AdversarialPrepareBatch", "attack": "@attack", "share": 0.25, "seed": 1},
    "mixing": {"_target_": "MixingPrepareBatch", "mix": "@mix", "prepare_batch": "@adversarial", "seed": 2},
    "hook": {"_target_": "AugmentingPrepareBatch", "transform": "@exposure", "prepare_batch": "@mixing", "seed": 3},
    "loader": {
        "_target_": "DataLoader",
        "dataset": {"_target_": "Dataset", "data": "$radiographs.radiographs(256)"},
        "batch_size": 32,
        "shuffle": True,
    },
    "trainer": {
        "_target_": "SupervisedTrainer",
        "device": "$torch.device('cpu')",
        "max_epochs": 3,
        "train_data_loader": "@loader",
        "network": "@network",
        "optimizer": "$torch.optim.Adam(@network.parameters(), 0.002)",
        "loss_function": "$torch.nn.CrossEntropyLoss()",
        "prepare_batch": "@hook",
        "decollate": False,
        "train_handlers": [
            {
                "_target_": "StatsHandler",
                "name": "train",
                "tag_name": "loss",
                "output_transform": "$lambda x: float(x['loss'].detach())",
                "iteration_log": False,
                "epoch_print_logger": "$lambda e: print('epoch loss', float(e.state.output['loss'].detach()))",
            }
        ],
    },
    "run": ["$@trainer.run()"],
}

WORKER = """
import os
import torch
from monai.data import list_data_collate
from torch.nn.parallel import DistributedDataParallel
from monai_medaug.engines import AdversarialPrepareBatch, AugmentingPrepareBatch, MixingPrepareBatch
from monai_medaug.transforms import BatchMixd, FGSMAttackd, RandXRayExposured
from tests.engines.radiographs import radiographs, small_net
from monai.utils import set_determinism

torch.distributed.init_process_group("gloo")
set_determinism(0)
rank = torch.distributed.get_rank()
net = DistributedDataParallel(small_net())
optimizer = torch.optim.Adam(net.parameters(), 2e-3)
attack = FGSMAttackd("image", net, "label")
hook = AugmentingPrepareBatch(
    RandXRayExposured("image", value_range=(0, 1), prob=1.0),
    MixingPrepareBatch(BatchMixd("image", label_keys="label", num_classes=2), AdversarialPrepareBatch(attack)),
)
data = radiographs(128)
losses, first = [], None
for step in range(8):
    image, label = hook(list_data_collate(data[16 * step : 16 * step + 16]), "cpu")
    first = image.clone() if first is None else first
    optimizer.zero_grad()
    loss = torch.nn.functional.cross_entropy(net(image), label)
    loss.backward()
    optimizer.step()
    losses.append(float(loss.detach()))
weights = torch.cat([p.detach().flatten() for p in net.parameters()])
gathered = [torch.zeros_like(weights) for _ in range(2)]
torch.distributed.all_gather(gathered, weights)
images = [torch.zeros_like(first) for _ in range(2)]
torch.distributed.all_gather(images, first.contiguous())
if rank == 0:
    print("RESULT", torch.equal(*gathered), torch.equal(*images), all(l == l for l in losses), flush=True)
torch.distributed.destroy_process_group()
os._exit(0)  # gloo may abort while the interpreter winds down, with a script of bare torch too (torch 2.13)
"""


def environment():
    return {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}


def test_a_bundle_config_runs_as_it_is(tmp_path):
    radiographs(2)
    (tmp_path / "train.json").write_text(json.dumps(BUNDLE))
    command = [sys.executable, "-m", "monai.bundle", "run", "--config_file", str(tmp_path / "train.json")]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=environment(), check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    losses = [float(line.split()[-1]) for line in done.stdout.splitlines() if line.startswith("epoch loss")]
    assert len(losses) == 3
    assert all(0 < loss < 5 for loss in losses)


def test_two_ranks_draw_differently_and_train_alike(tmp_path):
    radiographs(2)
    (tmp_path / "worker.py").write_text(WORKER)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", "worker.py"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=environment(), check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "RESULT True False True" in done.stdout
