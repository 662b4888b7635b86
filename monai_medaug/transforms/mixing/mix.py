"""MixUp, CutMix and lesion pasting over a batch, with the targets and masks that belong to it."""

from __future__ import annotations

from collections.abc import Sequence

from monai_medaug.core.twin import dictionary_twin
from monai_medaug.transforms.mixing.base import BatchMixing
from monai_medaug.transforms.mixing.twin import MixingDictionary


class BatchMixUp(BatchMixing):
    """Blend each sample of a batch with another one: ``λ x + (1 - λ) x[permutation]``, and the targets alike.

    λ is drawn from Beta(alpha, alpha) and is the weight of the sample's own image and target. The permutation is any:
    a sample may be its own partner, and a batch of one comes back as it is with λ = 1. Call it with images (B, C,
    *spatial) and, where there are, targets and masks: ``mix(images, targets, masks)`` returns a `MixedBatch`.

    Class ids (B,) become one-hot rows before they are blended (``num_classes``), integer rows of 0 and 1 (multi-label)
    floats; float targets are blended as they are. A segmentation mask becomes a soft target too: one channel of several
    labels its one-hot form (B, num_mask_classes, *spatial), flags floats; labels are never averaged. With
    ``target_form="pair"`` targets and masks stay as they are, and you weigh the losses of both by λ.

    Images keep their float type (computed in float32) and integers come back float32; each sample of a collated
    MetaTensor gets a record with λ and the partner. Records are dropped by `inverse`, no voxel is unmixed.

    Args:
        alpha: of the Beta distribution, at least 0.001. 1 is uniform, the paper's ImageNet models use 0.1 to 0.4.
        prob: probability for each sample to be mixed; λ is 1 for the others.
        per_sample: a λ for each sample; False for one λ in a batch, as in the paper.
        target_form: ``"soft"`` for blended targets, ``"pair"`` for both targets to weigh.
        num_classes: number of classes where targets are ids.
        num_mask_classes: number of labels, background included, of masks of one channel with several labels.

    Raises:
        ValueError: an argument is out of its range, ids come without ``num_classes``, labels lie outside of the
            classes, batch sizes differ, or data are not finite.
        TypeError: data are no arrays of real numbers.

    Source: H. Zhang et al., mixup: beyond empirical risk minimization, ICLR 2018.

    Example:
        >>> import torch
        >>> images, ids = torch.arange(3.0).reshape(3, 1, 1, 1).expand(3, 1, 8, 8), torch.tensor([0, 1, 2])
        >>> mix = BatchMixUp(num_classes=3).set_random_state(0)(images, ids)
        >>> mix.permutation, mix.weights
        (tensor([2, 1, 0]), tensor([0.4491, 0.8775, 0.0828]))
        >>> mix.image[:, 0, 0, 0]
        tensor([1.1017, 1.0000, 0.1657])
        >>> mix.target
        tensor([[0.4491, 0.0000, 0.5509],
                [0.0000, 1.0000, 0.0000],
                [0.9172, 0.0000, 0.0828]])
    """

    def __init__(
        self,
        alpha: float = 1.0,
        prob: float = 1.0,
        per_sample: bool = True,
        target_form: str = "soft",
        num_classes: int | None = None,
        num_mask_classes: int | None = None,
    ) -> None:
        super().__init__(alpha, 0.0, prob, per_sample, target_form, num_classes, num_mask_classes)


BatchMixUpd = dictionary_twin(BatchMixUp, MixingDictionary)
BatchMixUpD = BatchMixUpDict = BatchMixUpd


class BatchCutMix(BatchMixing):
    """Paste a box of another sample of the batch into each: image and mask hard, the targets by the share of voxels.

    The box's centre is uniform over the image, its sides are those of the image times sqrt(1 - λ) in 2D and
    (1 - λ)^(1/3) in 3D with λ of Beta(alpha, alpha), clipped at the border. The λ that is returned, and blends the
    targets, is the share of own voxels that remain, counted. The box is drawn in fractions of the field of view: keys
    of another resolution get the same box, rounded on their grid, and λ is that of the first image.

    Masks are pasted as the images: type and labels stay. Everything else is as in `BatchMixUp`.

    Lesions (the mask's non-zero voxels, or ``lesion_labels``) can be respected:

    - ``lesions="whole"``: the box never cuts through one. Each connected lesion of either sample lies in it wholly or
      not at all. Up to ``tries`` centres are drawn, and the first box that cuts none is taken; if there is none, the
      one that has to grow least to hold whole what it cut. If that would be the whole image, the sample stays as it
      was with λ = 1. Without lesions it is the plain box.
    - ``lesions="carve"`` (CarveMix): instead of a box, the region of the partner's lesions is pasted, at its place:
      all voxels of a signed distance D to them of at most t, in mm. D is negative within, of greatest depth d; t is
      uniform in (-d/2, 0) or in (0, d), with equal chance. alpha plays no part.
    - ``lesions="copy"`` (TumorCP without its augmentations): t = 0, the lesions themselves.

    Where the partner has no lesion the last two leave the sample as it was. They are meant for segmentation: λ remains
    the share of own voxels, which says little of a class that a small lesion makes.

    Args:
        alpha: of the Beta distribution, at least 0.001; 1 as in the paper.
        prob: probability for each sample to be mixed; λ is 1 for the others.
        per_sample: a λ and box for each sample; False for one λ and box in a batch, as in the paper.
        target_form: ``"soft"`` for blended targets, ``"pair"`` for both targets to weigh; masks are pasted.
        num_classes: number of classes where targets are ids.
        lesions: ``"ignore"``, ``"whole"``, ``"carve"`` or ``"copy"``.
        lesion_labels: the mask's labels that are lesions, or its channels if it has several; empty for all but 0.
        tries: number of centres to try with ``lesions="whole"``.

    Raises:
        ValueError: as for `BatchMixUp`, or lesions are asked for and there is no mask.
        TypeError: data are no arrays of real numbers.

    Source: S. Yun et al., CutMix, ICCV 2019; X. Zhang et al., CarveMix, MICCAI 2021 and NeuroImage 2023; J. Yang et
    al., TumorCP, MICCAI 2021.

    Example:
        >>> import torch
        >>> images, masks = torch.arange(3.0).reshape(3, 1, 1, 1).expand(3, 1, 10, 10), torch.zeros(3, 1, 10, 10).byte()
        >>> masks[:, :, 4:7, 4:7] = 1
        >>> cut = BatchCutMix(num_classes=3, lesions="whole").set_random_state(0)
        >>> mix = cut(images, torch.arange(3), masks)
        >>> mix.target
        tensor([[0.4400, 0.0000, 0.5600],
                [0.0000, 1.0000, 0.0000],
                [0.5600, 0.0000, 0.4400]])
        >>> (mix.image == 0).sum((1, 2, 3)), mix.mask.sum((1, 2, 3))
        (tensor([44,  0, 56]), tensor([9, 9, 9]))
    """

    def __init__(
        self,
        alpha: float = 1.0,
        prob: float = 1.0,
        per_sample: bool = True,
        target_form: str = "soft",
        num_classes: int | None = None,
        lesions: str = "ignore",
        lesion_labels: int | Sequence[int] = (),
        tries: int = 20,
    ) -> None:
        super().__init__(alpha, 1.0, prob, per_sample, target_form, num_classes, None, lesions, lesion_labels, tries)


BatchCutMixd = dictionary_twin(BatchCutMix, MixingDictionary)
BatchCutMixD = BatchCutMixDict = BatchCutMixd


class BatchMix(BatchMixing):
    """For each sample at random MixUp or CutMix, as `BatchMixUp` and `BatchCutMix` do them.

    Masks have one form whatever is drawn: soft targets as of `BatchMixUp`, hard where pasted; or pairs.

    Args:
        alpha: of the Beta distribution of both, at least 0.001.
        cutmix_prob: probability of CutMix.
        prob: probability for each sample to be mixed; λ is 1 for the others.
        per_sample: a choice, λ and box for each sample; False for one in a batch.
        target_form: ``"soft"`` for blended targets, ``"pair"`` for both targets to weigh.
        num_classes: number of classes where targets are ids.
        num_mask_classes: number of labels, background included, of masks of one channel with several labels.
        lesions: what is pasted and spared, see `BatchCutMix`.
        lesion_labels: the mask's labels or channels that are lesions; empty for all but 0.
        tries: number of centres to try with ``lesions="whole"``.

    Raises:
        ValueError: as for `BatchMixUp` and `BatchCutMix`.
        TypeError: data are no arrays of real numbers.

    Source: H. Zhang et al., ICLR 2018, and S. Yun et al., ICCV 2019; their alternation is common practice since
    R. Wightman et al., ResNet strikes back, 2021, there a batch at a time.

    Example:
        >>> import torch
        >>> mix = BatchMix(num_classes=4).set_random_state(0)(torch.rand(4, 1, 16, 16), torch.arange(4))
        >>> mix.weights
        tensor([0.5626, 0.7539, 0.5312, 0.4922])
        >>> mix.target.sum(1)
        tensor([1., 1., 1., 1.])
    """

    def __init__(
        self,
        alpha: float = 1.0,
        cutmix_prob: float = 0.5,
        prob: float = 1.0,
        per_sample: bool = True,
        target_form: str = "soft",
        num_classes: int | None = None,
        num_mask_classes: int | None = None,
        lesions: str = "ignore",
        lesion_labels: int | Sequence[int] = (),
        tries: int = 20,
    ) -> None:
        form, spared = (target_form, num_classes, num_mask_classes), (lesions, lesion_labels, tries)
        super().__init__(alpha, cutmix_prob, prob, per_sample, *form, *spared)


BatchMixd = dictionary_twin(BatchMix, MixingDictionary)
BatchMixD = BatchMixDict = BatchMixd
