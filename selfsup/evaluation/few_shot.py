"""Few-shot accuracy of frozen features: classify by the nearest class mean of a handful of labelled images."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from ..arguments import Count, checked
from ..errors import ShapeError
from .inputs import Numbers
from .knn import check_labelled


@checked
@torch.no_grad()
def nearest_mean_accuracy(
    train_features: Numbers,
    train_labels: Numbers,
    test_features: Numbers,
    test_labels: Numbers,
    shots: Count = 1,
    draws: Count = 20,
    seed: int = 0,
) -> tuple[float, float]:
    """Accuracy with `shots` labelled images per class, averaged over random choices of them.

    Features are L2-normalised; a class is the mean of its shots; the test image takes the class whose mean has the highest
    cosine similarity (prototypes of Snell et al., arXiv:1703.05175, with cosine in the place of Euclidean distance).

    Args:
        train_features: (N, D); the shots are drawn from these, without replacement within a draw.
        train_labels: (N,) int64, >= 0.
        test_features: (M, D); all of them are classified in every draw.
        test_labels: (M,) int64, classes that occur among `train_labels`.
        shots: images per class, >= 1.
        draws: independent choices, >= 1.
        seed: of the choices; the same on every device.

    Returns:
        Mean accuracy in percent and its standard deviation over the draws (population; 0 for one draw).

    Raises:
        ShapeError: sizes do not fit, a class has fewer than `shots` images, or the test set has a class of its own.
        DataError: a feature is not finite, or a label is negative.
    """
    train, train_targets = check_labelled(train_features, train_labels, 'training')
    test, test_targets = check_labelled(test_features, test_labels, 'test')
    labels = train_targets.cpu()
    classes = labels.unique()
    members = [(labels == c).nonzero().flatten() for c in classes]
    small = [f'{int(c)} ({len(m)})' for c, m in zip(classes, members, strict=True) if len(m) < shots]
    if small:
        raise ShapeError(f'shots={shots}, but these classes have fewer training images: {", ".join(small[:10])}.')
    alien = set(test_targets.tolist()) - set(classes.tolist())
    if alien:
        raise ShapeError(f'Test classes without a training image: {sorted(alien)[:10]}.')
    generator = torch.Generator().manual_seed(seed)
    device = train.device
    classes, target = classes.to(device), test_targets.to(device)
    with torch.autocast(device.type, enabled=False):
        train = F.normalize(train.float(), dim=1)
        test = F.normalize(test.to(device).float(), dim=1)
        results = []
        for _ in range(draws):
            # (C, shots)
            chosen = torch.stack([m[torch.randperm(len(m), generator=generator)[:shots]] for m in members])
            means = F.normalize(train[chosen.to(device)].mean(1), dim=1)
            predicted = classes[(test @ means.T).argmax(1)]
            results.append((predicted == target).double().mean())
    accuracy = 100 * torch.stack(results)
    return float(accuracy.mean()), float(accuracy.std(correction=0))
