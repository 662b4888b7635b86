"""MixUp, CutMix and lesion pasting within a batch, with its targets and masks."""

from __future__ import annotations

from collections.abc import Sequence

from monai_medaug.core.twin import dictionary_twin
from monai_medaug.transforms.mixing.base import BatchMixing
from monai_medaug.transforms.mixing.twin import MixingDictionary


class BatchMixUp(BatchMixing):
    """Blend each sample of a batch, and its target, with another sample.

    ``λ x + (1 - λ) x[permutation]`` with λ drawn from Beta(alpha, alpha). The permutation is random: a sample may be
    its own partner, and a batch of one stays unchanged with λ = 1. ``mix(images, targets, masks)`` takes images (B, C,
    *spatial) and optional targets and masks, and returns a `MixedBatch`.

    Before blending, class ids (B,) become one-hot rows (``num_classes``) and integer rows of 0 and 1 (multi-label)
    floats; float targets are blended directly. Segmentation masks become soft targets too: one channel of several
    labels becomes one-hot (B, num_mask_classes, *spatial), flags become floats; labels are never averaged. With
    ``target_form="pair"`` targets and masks stay unchanged, and you weigh the losses of both by λ.

    Float images keep their type (computed in float32), integers become float32. Each sample of a collated MetaTensor
    gets a record with λ and the partner; `inverse` drops the records and does not unmix voxels.

    Args:
        alpha: of the Beta distribution, at least 0.001. 1 is uniform; the paper's ImageNet models use 0.1 to 0.4.
        prob: probability for each sample to be mixed; λ is 1 for the others.
        per_sample: draw a λ for each sample; False draws one per batch, as in the paper.
        target_form: ``"soft"`` for blended targets, ``"pair"`` for both targets to weigh.
        num_classes: number of classes of targets that are ids.
        num_mask_classes: number of labels, background included, of one-channel masks with several labels.

    Raises:
        ValueError: an argument is out of its range, ids come without ``num_classes``, a label lies outside the classes,
            batch sizes differ, or data are not finite.
        TypeError: data are not arrays of real numbers.

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
    """Paste a box of another sample of the batch into each, and blend targets by the share of voxels.

    The box's centre is uniform over the image. Its sides are those of the image times sqrt(1 - λ) in 2D and
    (1 - λ)^(1/3) in 3D with λ from Beta(alpha, alpha), clipped at the border. The returned λ, which blends the targets,
    is the counted share of voxels that stay. The box is drawn in fractions of the field of view: keys of another
    resolution get the same box, rounded on their grid, and λ of the first image.

    Masks are pasted like the images and keep type and labels. The rest is as in `BatchMixUp`.

    Lesions (the mask's non-zero voxels, or ``lesion_labels``) can be respected:

    - ``lesions="whole"``: each connected lesion of either sample lies wholly inside or outside the box. Up to ``tries``
      centres are drawn until a box cuts no lesion; otherwise the box that has to grow least to contain its cut lesions
      is enlarged. If that needs the whole image, the sample stays unchanged with λ = 1.
    - ``lesions="carve"`` (CarveMix): instead of a box, the regions of the partner's lesions are pasted: all voxels with
      a signed distance to the lesions, in mm, of at most t. With d the greatest depth inside, t is uniform in (-d/2, 0)
      or in (0, d), with equal probability. alpha has no effect.
    - ``lesions="copy"`` (TumorCP without its augmentations): the same with t = 0, the lesions alone.

    A lesion is pasted at its place if its surroundings there (a ring 2.5 voxels away, 3 mm wide) are like its own, else
    at the best of 400 places, else not: never outside the body, across the border of bone, gas or the skin, or over
    another kind of tissue. It keeps its contrast to the ring, takes on the level and noise of the new surroundings and
    fades into them over 2.5 voxels; masks stay exact. All images of a batch must be in one unit: HU, or normalised.
    Own lesions stay, but for up to a tenth of a region.

    ``"carve"`` and ``"copy"`` leave a sample unchanged if its partner has no lesion or none finds a place. Use them for
    segmentation: λ stays the share of own voxels, which is a poor weight for a class that depends on a small lesion.

    Args:
        alpha: of the Beta distribution, at least 0.001; 1 as in the paper.
        prob: probability for each sample to be mixed; λ is 1 for the others.
        per_sample: draw a λ and box for each sample; False draws one per batch, as in the paper.
        target_form: ``"soft"`` for blended targets, ``"pair"`` for both targets to weigh; masks are pasted.
        num_classes: number of classes of targets that are ids.
        lesions: ``"ignore"``, ``"whole"``, ``"carve"`` or ``"copy"``.
        lesion_labels: labels of the mask that are lesions, or channels of one with several; empty for all except 0.
        tries: number of centres to try with ``lesions="whole"``.

    Raises:
        ValueError: as for `BatchMixUp`, or ``lesions`` needs a mask and gets none.
        TypeError: data are not arrays of real numbers.

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
    """MixUp or CutMix at random for each sample, see `BatchMixUp` and `BatchCutMix`.

    The form of masks does not depend on the draw: soft targets as in `BatchMixUp`, hard in pasted parts; or pairs.

    Args:
        alpha: of the Beta distribution of both, at least 0.001.
        cutmix_prob: probability of CutMix.
        prob: probability for each sample to be mixed; λ is 1 for the others.
        per_sample: draw method, λ and box for each sample; False draws one per batch.
        target_form: ``"soft"`` for blended targets, ``"pair"`` for both targets to weigh.
        num_classes: number of classes of targets that are ids.
        num_mask_classes: number of labels, background included, of one-channel masks with several labels.
        lesions: ``"ignore"``, ``"whole"``, ``"carve"`` or ``"copy"``, see `BatchCutMix`.
        lesion_labels: labels or channels of the mask that are lesions; empty for all except 0.
        tries: number of centres to try with ``lesions="whole"``.

    Raises:
        ValueError: as for `BatchMixUp` and `BatchCutMix`.
        TypeError: data are not arrays of real numbers.

    Source: H. Zhang et al., ICLR 2018, and S. Yun et al., ICCV 2019; alternated since R. Wightman et al., ResNet
    strikes back, 2021, there per batch.

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
