"""Linear classifiers that learn beside a run, one per layer, each with an optimizer of its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

WIDTH = 128  # numbers per feature that a learning rate is given for


class Classifiers:
    """One linear layer per layer of the network, behind a batch norm without affine: the scale of the features does not matter.

    The linear layers start at zero, so that nothing is drawn. Everything is computed in float32, also inside of autocast.

    Args:
        widths: numbers per feature, by layer.
        classes: number of classes.
        lr: learning rate of SGD with momentum 0.9 and without decay, > 0, for features of `WIDTH` numbers. The weights of others learn
            with lr * WIDTH / width: the squared length of a normed feature, and with it the curvature, grows with its width.
        device: where the features are.
    """

    def __init__(self, widths: Mapping[str, int], classes: int, lr: float, device: torch.device) -> None:
        self.layers = tuple(widths)
        self.classes = classes
        self.steps = 0
        self.model = nn.ModuleList(_linear(width, classes, device) for width in widths.values())
        linear = [cast(Any, classifier)[1] for classifier in self.model]
        groups = [{'params': [layer.weight], 'lr': lr * WIDTH / layer.in_features} for layer in linear]
        biases = {'params': [layer.bias for layer in linear]}
        self.optimizer = torch.optim.SGD([*groups, biases], lr=lr, momentum=0.9)

    def step(self, features: Mapping[str, Tensor], labels: Tensor) -> dict[str, Tensor]:
        """Learn from a batch.

        Args:
            features: (N, D) by layer, N >= 2, of all processes: each does the same step.
            labels: (N,) int64.

        Returns:
            Mean cross entropy of the batch by layer, detached.
        """
        self.model.train()
        for classifier in self.model:
            cast(Any, classifier)[0].momentum = max(
                0.1, 1 / (self.steps + 1)
            )  # at first a plain mean: statistics begin at 0 and 1
        with torch.enable_grad(), torch.autocast(labels.device.type, enabled=False):
            losses = {
                layer: F.cross_entropy(classifier(features[layer].detach().float()), labels)
                for layer, classifier in zip(self.layers, self.model, strict=True)
            }
            self.optimizer.zero_grad()
            torch.stack(list(losses.values())).sum().backward()
        self.optimizer.step()
        self.steps += 1
        return {layer: loss.detach() for layer, loss in losses.items()}

    @torch.no_grad()
    def predict(self, features: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Class (N,) int64 of features (N, D), by layer."""
        self.model.eval()
        with torch.autocast(next(iter(features.values())).device.type, enabled=False):
            return {
                layer: classifier(features[layer].float()).argmax(1)
                for layer, classifier in zip(self.layers, self.model, strict=True)
            }

    def state_dict(self) -> dict[str, Any]:
        """All that a resumed run needs, as plain values and tensors in host memory."""
        return {
            'layers': list(self.layers),
            'steps': self.steps,
            'weights': {name: value.detach().cpu() for name, value in self.model.state_dict().items()},
            'momentum': {
                name: self.optimizer.state[weight]['momentum_buffer'].cpu()
                for name, weight in self.model.named_parameters()
                if 'momentum_buffer' in self.optimizer.state[weight]
            },
        }

    def fits(self, state: Mapping[str, Any]) -> bool:
        """True where `state` is of classifiers for the same layers, widths and classes, and all its numbers are finite."""
        shapes = {name: value.shape for name, value in self.model.state_dict().items()}
        weights, momentum = state['weights'], state['momentum']
        return (
            state['layers'] == list(self.layers)
            and {name: value.shape for name, value in weights.items()} == shapes
            and all(value.shape == shapes.get(name) for name, value in momentum.items())
            and all(bool(torch.isfinite(value).all()) for value in (*weights.values(), *momentum.values()))
        )

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what `state_dict` gave, if it `fits`."""
        self.model.load_state_dict(state['weights'])
        for name, weight in self.model.named_parameters():
            if name in state['momentum']:
                self.optimizer.state[weight]['momentum_buffer'] = state['momentum'][name].to(weight.device).clone()
        self.steps = state['steps']


def _linear(width: int, classes: int, device: torch.device) -> nn.Sequential:
    with torch.device('meta'):  # drawing its weights would move torch's generator
        linear = nn.Linear(width, classes)
    linear = linear.to_empty(device=device)
    nn.init.zeros_(linear.weight)
    nn.init.zeros_(linear.bias)
    return nn.Sequential(nn.BatchNorm1d(width, affine=False, device=device), linear)
