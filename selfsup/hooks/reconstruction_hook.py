"""Pictures of what a masked autoencoder has learned, while it learns."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from .. import distributed as dist
from ..engine.state import unwrap
from ..errors import ConfigError
from ..evaluation.features import evaluating
from ..registry import DATASETS, HOOKS
from ..visualization.reconstruction import normalisation, reconstruction_grid
from .evaluation_hook import EvaluationHook


@HOOKS.register_module()
class ReconstructionHook(EvaluationHook):
    """Draws the same images with the same hidden blocks again and again: work_dir/reconstruction/epoch_N.png, and tensorboard.

    Logs `reconstruction_loss`, that of these images in evaluation mode.

    Args:
        dataset: dataset config (`ExtractDataset` with an evaluation pipeline) from which the images are taken, evenly.
        num_images: rows of the picture, >= 1.
        interval: epochs between two pictures.
        initial: draw the untrained network too.
        seed: of the hidden blocks.
    """

    def __init__(self, dataset: dict, num_images: int = 8, interval: int = 50, initial: bool = False, seed: int = 0) -> None:
        super().__init__(interval, initial)
        if num_images < 1:
            raise ConfigError(f'ReconstructionHook num_images={num_images}: use 1 or more.')
        self.dataset, self.num_images, self.seed = dataset, num_images, seed

    def before_train(self, runner: Any) -> None:
        algorithm = unwrap(runner.model)
        if not hasattr(algorithm, 'reconstruct'):
            raise ConfigError(f'ReconstructionHook draws masked autoencoders (SparK, FCMAE); {type(algorithm).__name__} reconstructs '
                              'nothing: remove the hook.')
        super().before_train(runner)

    def evaluate(self, runner: Any) -> dict[str, float]:
        if not dist.is_main():
            return {}
        algorithm = unwrap(runner.model)
        dataset = DATASETS.build(self.dataset)
        chosen = np.unique(np.linspace(0, len(dataset) - 1, self.num_images).astype(int)).tolist()
        images = torch.stack([dataset[i]['img'] for i in chosen]).to(runner.device)
        visible = algorithm.masking.draw(images, torch.Generator(images.device).manual_seed(self.seed))
        with evaluating(algorithm):
            prediction, _ = algorithm.predict_patches(images, visible)
            hidden = algorithm.head.hidden(images, visible)
            loss = algorithm.head(prediction, images, hidden, hidden.sum())['loss']
            pictures = algorithm.head.compose(prediction, images, visible)
        epoch = runner.epoch + (runner.iter > 0)
        path = Path(runner.work_dir) / 'reconstruction' / f'epoch_{epoch}.png'
        mean, std = normalisation(self.dataset.get('pipeline', ()))
        reconstruction_grid(images.cpu(), visible.cpu(), pictures.cpu(), path, mean, std, title=f'after epoch {epoch}')
        board = runner.visualizer.get_backend('TensorboardVisBackend')
        if board is not None:
            board.add_image('reconstruction', np.asarray(Image.open(path)), step=runner.iter)
        return {'reconstruction_loss': loss.item()}
