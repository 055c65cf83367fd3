"""Samples of one tar: the members that share a base name, of which one is the image and one may be the label."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, BinaryIO

from .scan import LABEL_BYTES, Member, scan

SHOWN = 3  # names of each kind that are kept for messages


@dataclass
class Found:
    """Samples of one tar, in the order in which they begin.

    Attributes:
        offsets, sizes, names: of the image members.
        labels: what their label members say, in one line; '' where there is none.
        damage: how the tar is damaged; '' where it is whole.
        endings: endings of images that stand beside each other in a sample, and that `image` must choose from; [] where one is clear.
        without: number of samples without an image, and names of some.
        twice: number of members that come twice, of which the last counts, as when a tar is unpacked; and names of some.
    """

    offsets: list[int] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)
    damage: str = ''
    endings: list[str] = field(default_factory=list)
    without: list[Any] = field(default_factory=lambda: [0, []])
    twice: list[Any] = field(default_factory=lambda: [0, []])

    def notes(self) -> dict[str, Any]:
        """All but the samples, for a file."""
        return {name: getattr(self, name) for name in ('damage', 'endings', 'without', 'twice')}


def find_samples(file: BinaryIO, images: Sequence[str], image: str | None, label: str | None) -> Found:
    """Samples of an open tar.

    A base name is a path up to the first dot of its last part; what follows is the ending. What begins with a dot is no sample.

    Args:
        file: at its start; can seek.
        images: endings of images, without dots, in lower case.
        image: the ending that a sample's image has; None: what of `images` it has.
        label: the ending of a sample's label, 'json:key' or 'json:key.key' for a value in a JSON file; None: no label is read.
    """
    scanned = scan(file)
    found = Found(damage=scanned.damage)
    samples: dict[str, dict[str, Member]] = {}
    for member in scanned.members:
        base, ending = split(member.name)
        if not ending:
            continue
        parts = samples.setdefault(base, {})
        if ending in parts:
            _note(found.twice, member.name)
        parts[ending] = member
    kind, _, key = (label or '').partition(':')
    for base, parts in samples.items():
        taken = _image(parts, images, image, found)
        if taken is None:
            _note(found.without, base)
            continue
        found.offsets.append(taken.offset)
        found.sizes.append(taken.size)
        found.names.append(_one_line(taken.name))
        found.labels.append(_label(file, parts.get(kind), key) if label else '')
    return found


def split(name: str) -> tuple[str, str]:
    """Base name and ending, in lower case, of a member; no ending for what is no part of a sample."""
    folder, slash, last = name.removeprefix('./').rpartition('/')
    base, dot, ending = last.partition('.')
    return f'{folder}{slash}{base}', ending.lower() if base and dot else ''


def _image(parts: dict[str, Member], images: Sequence[str], image: str | None, found: Found) -> Member | None:
    if image is not None:
        return parts.get(image)
    endings = [ending for ending in parts if ending in images]
    # `seg.png` beside `jpg` is something else about the image
    endings = endings or [ending for ending in parts if ending.rpartition('.')[2] in images]
    if len(endings) > 1:
        found.endings = found.endings or endings
    return parts[endings[0]] if endings else None


def _label(file: BinaryIO, member: Member | None, key: str) -> str:
    if member is None:
        return ''
    file.seek(member.offset)
    content = file.read(min(member.size, LABEL_BYTES))
    if not key:
        return _one_line(content.decode('utf-8', 'replace').strip())
    try:
        value = json.loads(content)
        for part in key.split('.'):
            value = value[part]
    except (ValueError, KeyError, TypeError):
        return ''
    return _one_line(value.strip() if isinstance(value, str) else json.dumps(value))


def _one_line(text: str) -> str:
    return ' '.join(text.splitlines())


def _note(counted: list[Any], name: str) -> None:
    counted[0] += 1
    if len(counted[1]) < SHOWN:
        counted[1].append(name)
