"""Pictures of what a masked autoencoder has learned, while it learns."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
from annotated_types import Len
from PIL import Image

from .. import distributed as dist
from ..arguments import Count, Part, Whole
from ..contracts import Reconstructing
from ..datasets.wrappers import use_backend
from ..engine import Run, unwrap
from ..errors import ConfigError
from ..evaluation.features import evaluating
from ..registry import DATASETS, HOOKS
from ..visualization.reconstruction import evaluation_steps, normalisation, reconstruction_grid
from ..visualization.views import to_picture
from .evaluation_hook import EvaluationHook


@HOOKS.register_module()
class ReconstructionHook(EvaluationHook):
    """Draws the same images with the same hidden blocks again and again: work_dir/reconstruction/epoch_N.png, and tensorboard.

    Logs `reconstruction_loss`, that of these images in evaluation mode.

    Args:
        dataset: dataset config (`ExtractDataset` with an evaluation pipeline) from which the images are taken, evenly; None takes
            the images that are trained on, whole.
        num_images: rows of the picture, >= 1.
        interval: epochs between two pictures.
        initial: draw the untrained network too.
        seed: of the hidden blocks.
        channels: numbers, from 0, of the channels to draw as red, green and blue, or of one to draw in grey; None: the first three.
    """

    on_offered = False  # its pictures are of the trained weights

    def __init__(
        self,
        dataset: Annotated[dict, Part(DATASETS)] | None = None,
        num_images: Count = 8,
        interval: Count = 50,
        initial: bool = False,
        seed: int = 0,
        channels: Annotated[Sequence[Whole], Len(1, 3)] | None = None,
    ) -> None:
        super().__init__(interval, initial)
        self.dataset, self.num_images, self.seed, self.channels = dataset, num_images, seed, channels

    def check(self, runner: Run) -> None:
        """On all ranks: what cannot be read or cut into blocks is refused too."""
        algorithm = unwrap(runner.model)
        if not isinstance(algorithm, Reconstructing):
            raise ConfigError(
                f'ReconstructionHook draws masked autoencoders (SparK, FCMAE); {type(algorithm).__name__} reconstructs '
                'nothing: remove the hook.'
            )
        self._algorithm = algorithm
        cfg = self.dataset or self._training_images(runner.config.train_dataloader)
        dataset = DATASETS.build(cfg)
        use_backend(dataset, runner.config.pipeline_backend)
        chosen = np.unique(np.linspace(0, len(dataset) - 1, self.num_images).astype(int)).tolist()
        self._images = torch.stack([dataset[i]['img'] for i in chosen])
        drawn = self._images.shape[1]
        channels = getattr(self._algorithm, 'channels', drawn)
        if drawn != channels:
            raise ConfigError(
                f'ReconstructionHook has images of {drawn} channels, but the network takes {channels}: where those of the '
                f'training have {drawn} too, set model.backbone.in_channels={drawn}; else give the hook dataset=dict('
                "type='ExtractDataset', data_source=..., pipeline=...) whose steps make such images."
            )
        self._visible = self._algorithm.masking.draw(self._images, torch.Generator().manual_seed(self.seed))
        self._scale = normalisation(cfg.get('pipeline', ()))
        to_picture(self._images[0], *self._scale, self.channels)  # channels that there are not are refused now

    @staticmethod
    def _training_images(loader: dict) -> dict:
        dataset = loader['dataset']
        if 'data_source' not in dataset or 'pipeline' not in dataset:
            raise ConfigError(
                f'ReconstructionHook cannot take its images from a {dataset.get("type")}: give it dataset=dict(type='
                "'ExtractDataset', data_source=..., pipeline=...)."
            )
        return {
            'type': 'ExtractDataset',
            'data_source': dataset['data_source'],
            'pipeline': evaluation_steps(dataset['pipeline'], loader.get('img_norm_cfg')),
        }

    def evaluate(self, runner: Run) -> dict[str, float]:
        algorithm = self._algorithm
        images, visible = self._images.to(runner.device), self._visible.to(runner.device)
        with evaluating(unwrap(runner.model)):  # on all ranks: norms without running statistics speak to each other
            prediction, _ = algorithm.predict_patches(images, visible)
            hidden = algorithm.head.hidden(images, visible)
            loss = algorithm.head(prediction, images, hidden, hidden.sum())['loss']
            pictures = algorithm.head.compose(prediction, images, visible)
        if dist.is_main():
            self._draw(runner, pictures)
        return {'reconstruction_loss': loss.item()}

    def _draw(self, runner: Run, pictures: torch.Tensor) -> None:
        epoch = runner.epoch + (runner.iter > 0)
        path = Path(runner.work_dir) / 'reconstruction' / f'epoch_{epoch}.png'
        with runner.log_trouble.guarding(path):
            reconstruction_grid(
                self._images,
                self._visible,
                pictures.cpu(),
                path,
                *self._scale,
                title=f'after epoch {epoch}',
                channels=self.channels,
            )
            if (board := runner.visualizer.get_backend('TensorboardVisBackend')) is not None:
                board.add_image('reconstruction', np.asarray(Image.open(path)), step=runner.iter)
