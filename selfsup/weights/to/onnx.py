"""A backbone as an ONNX graph: images in, pooled features out, for any number of images of one size."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import cast

import torch
from torch import Tensor, nn

from ...errors import ConfigError
from ..network import Network
from ..write import write_checkpoint_atomic
from .form import NEEDS_EXTRA, Form, Target

OPSET = 18
_LARGEST = 2**31 - 2**24  # bytes of weights; one file holds 2 GiB


class _Features(nn.Module):
    """Average-pooled last map, logits where there is a classifier, then the maps."""

    def __init__(self, backbone: nn.Module, head: nn.Module | None, maps: bool) -> None:
        super().__init__()
        self.backbone, self.head, self.maps = backbone, head, maps

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        maps = self.backbone(images)
        logits = () if self.head is None else (self.head(maps)['head0'],)
        return maps[-1].mean((2, 3)), *logits, *(maps if self.maps else ())


def export(network: Network, size: tuple[int, int], maps: bool = False) -> bytes:
    """`network` as an ONNX file of opset `OPSET`.

    Inputs: `images` (B, in_channels, height, width) float32, B any number. Outputs: `features` (B, D), the average of the last map;
    `logits` (B, K) of a classifier; with `maps` also `map1`, `map2`, ... (B, C, h, w), the maps of the stages. Large kernels are
    ordinary convolutions.

    Args:
        network: to export.
        size: (height, width) of the images in pixels.
        maps: give out the maps too.

    Raises:
        ConfigError: onnx is not installed, the network has no such input size, or more than 2 GiB.
    """
    try:
        import onnx  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise ConfigError(f'--to onnx {NEEDS_EXTRA.format(error.name)}.') from None
    if sum(value.numel() * value.element_size() for value in network.backbone.state_dict().values()) > _LARGEST:
        raise ConfigError(
            f'{network.title} has more than 2 GiB of weights, which one ONNX file cannot hold. Use --to safetensors.'
        )
    images = torch.zeros(2, network.in_channels, *size)
    head = network.classifier.build() if network.classifier else None
    stages = [name for name in network.run(images[:1]) if name.startswith('map')] if maps else []
    names = ['features', *(['logits'] if head else []), *stages]
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')  # of torch's exporter, about its own parts
        try:
            program = torch.onnx.export(
                _Features(network.backbone, head, maps).eval(),
                (images,),
                dynamo=True,
                opset_version=OPSET,
                verbose=False,
                input_names=['images'],
                output_names=names,
                dynamic_shapes={'images': {0: torch.export.Dim('batch')}},
            )
        except torch.onnx.errors.OnnxExporterError as error:
            reason = str(error).splitlines()[0]
            raise ConfigError(f'torch {torch.__version__} cannot export {network.title} to ONNX: {reason}') from error
    return cast(torch.onnx.ONNXProgram, program).model_proto.SerializeToString()  # there is one with dynamo=True


def run(path: Path, images: Tensor) -> dict[str, Tensor]:
    """What onnxruntime makes of `images` on the CPU.

    Raises:
        ConfigError: onnxruntime is not installed.
    """
    try:
        import onnxruntime
    except ImportError:
        raise ConfigError(f'--check of an ONNX file {NEEDS_EXTRA.format("onnxruntime")}.') from None
    session = onnxruntime.InferenceSession(str(path), providers=['CPUExecutionProvider'])
    outputs = session.run(None, {'images': images.numpy()})
    return {output.name: torch.from_numpy(value) for output, value in zip(session.get_outputs(), outputs, strict=True)}


def _make(network: Network, size: tuple[int, int], maps: bool) -> Target:
    model = export(network, size, maps)
    import onnx

    outputs = 'features, logits, *maps' if network.classifier else 'features, *maps'
    usage = (
        'import onnxruntime',
        "session = onnxruntime.InferenceSession('{path}')",
        f"{outputs} = session.run(None, {{'images': images}})  # float32, (any number, {network.in_channels}, {size[0]}, {size[1]})",
    )

    def write(path: Path) -> object:
        return write_checkpoint_atomic(model, path, save=lambda content, file: file.write(content))

    tensors = len(onnx.load_from_string(model).graph.initializer)
    return Target(tensors, write, run, usage)


ONNX = Form(_make, '.onnx', maps=True)
