"""Find the backbone in a checkpoint: where it stands, whose layout that is, which network it is, and what was trained of it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from torch import Tensor

from ..errors import CheckpointError
from .classifier import Classifier, find_classifier
from .families import Named, recognise
from .frame import flat_weights, meta_of
from .layouts import STUDENT, place, translate
from .untrained import untrained


@dataclass(frozen=True)
class Found:
    """A backbone in a file.

    Attributes:
        layout: what the file was recognised as.
        named: its weights under their names in the file, without the prefix of the backbone, and what these names tell.
        unused: why other tensors of the file are not part of the backbone, by their names in the file.
        classifier: the classifier that the file was trained with, or None.
        untrained: tensors of the backbone that its run has never trained, without the prefix; they are in `unused`, not in `named`.
    """

    layout: str
    named: Named
    unused: dict[str, str]
    classifier: Classifier | None = None
    untrained: dict[str, Tensor] = field(default_factory=dict)

    @property
    def weights(self) -> dict[str, Tensor]:
        """The weights of the backbone, under their names in the file without the prefix."""
        return self.named.weights


def find_backbone(checkpoint: Mapping, source: str, expected: Collection[str] = ()) -> Found:
    """The backbone in what `read_checkpoint` gave.

    Args:
        checkpoint: weights in a frame that `flat_weights` knows, or the weights themselves.
        source: the file, for messages.
        expected: names in the backbone that is to take the weights; with them a network that is not known by its weights is found too.

    Raises:
        CheckpointError: there is no place for a backbone, and it is no bare network that is known; or there are several; or nothing of
            it has ever been trained.
    """
    weights, origin, unused = translate(flat_weights(checkpoint, source))
    prefix, layout, inside, beside, reasons = place(weights, source, expected)
    names, reason = untrained(checkpoint) if len(inside) > 1 else ((), '')
    unreached = {name: inside.pop(name) for name in names if name in inside}
    if unreached and not inside:
        raise CheckpointError(f'{source} has no trained backbone: all of its {len(unreached)} tensors are {reason}.')
    named = recognise(inside)
    parts = (
        origin or layout,
        f"under '{prefix}'" if prefix and not origin else '',
        named.title if prefix else f'bare {named.title or "weights"}',
    )
    meta = meta_of(checkpoint)
    of_training = meta.get('algorithm', 'Classification') != 'Classification'
    return Found(
        ', '.join(filter(None, parts)),
        named,
        {**_student(checkpoint), **unused, **reasons, **{prefix + name: reason for name in unreached}},
        None if of_training else find_classifier(prefix, named.ours, beside),
        unreached,
    )


def _student(checkpoint: Mapping) -> dict[str, str]:
    """Why the weights of the student in a training file of DINO are not used, by their names in the file."""
    student = checkpoint.get('student')
    if not isinstance(student, Mapping) or not isinstance(checkpoint.get('teacher'), Mapping):
        return {}
    return {f'student.{name}': STUDENT for name, value in student.items() if isinstance(value, Tensor)}
