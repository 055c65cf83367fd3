"""Forms in which a backbone leaves: one file per form, each with the way to write it, to read it back and to run it.

To read: `form.py` for what a form is, then `library.py`. To add one: a file with a `Form`, and its entry in `TARGETS`. What depends on
the kind of network stands in its family (`weights/families/`).
"""

from types import MappingProxyType

from .library import DETECTRON2, TIMM, TORCHVISION
from .onnx import ONNX
from .safetensors import SAFETENSORS

TARGETS = MappingProxyType(
    {'timm': TIMM, 'torchvision': TORCHVISION, 'detectron2': DETECTRON2, 'safetensors': SAFETENSORS, 'onnx': ONNX}
)
