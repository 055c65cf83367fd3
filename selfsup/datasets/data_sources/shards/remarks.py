"""What is to be said of shards: samples without an image, members that come twice, damage."""

from __future__ import annotations

import warnings

from .... import distributed as dist
from ....errors import DataError, SelfSupWarning, listed
from .endings import IMAGE_ENDINGS
from .index import ShardIndex
from .places import Shard
from .scan import NO_END


def check_images(shards: list[Shard], index: ShardIndex, image: str | None) -> None:
    """Refuse shards in which no image is found, or several in a sample; warn of samples without one, and of members that come twice.

    Args:
        shards: in order.
        index: theirs.
        image: the ending that was asked for.

    Raises:
        DataError: naming shards and samples.
    """
    unclear = next((note['endings'] for note in index.notes if note['endings']), None)
    if unclear:
        raise DataError(
            f"{shards[0].path}: a sample has several images, ending in {', '.join(unclear)}. Say which is meant: image='{unclear[0]}'."
        )
    without = [
        (shard.path, name) for shard, note in zip(shards, index.notes, strict=True) for name in note['without'][1]
    ]
    if not len(index):
        damage = [
            f'{shard.path}: {note["damage"]}' for shard, note in zip(shards, index.notes, strict=True) if note['damage']
        ]
        what = f'ending in .{image}' if image else f'ending in {", ".join(IMAGE_ENDINGS)}'
        raise DataError(
            f'The {len(shards)} shards hold no image {what}.'
            + (f' Damaged: {listed(damage)}.' if damage else '')
            + (f' Samples without one: {listed([": ".join(pair) for pair in without])}.' if without else '')
        )
    for key, text in (
        ('without', 'samples have no image and are left out'),
        ('twice', 'members come twice; the last one counts, as when a tar is unpacked'),
    ):
        count = sum(note[key][0] for note in index.notes)
        if count:
            names = [
                f'{shard.path}: {name}'
                for shard, note in zip(shards, index.notes, strict=True)
                for name in note[key][1]
            ]
            warnings.warn(
                f'{count} {text}: {", ".join(names[:3])}{", ..." if count > 3 else ""}.', SelfSupWarning, stacklevel=5
            )


def count_lost(shards: list[Shard], index: ShardIndex) -> int:
    """How many images damaged shards must have held that nobody knows of, and a warning that names these shards.

    A shard is taken to have held as many as the whole ones do on average. At least one is lost, but where all that is missing is the
    end: some programs write none.
    """
    damaged = [i for i, note in enumerate(index.notes) if note['damage']]
    whole = [int(count) for i, count in enumerate(index.counts) if i not in damaged]
    usual = sum(whole) / len(whole) if whole else 0
    least = {i: 0 if index.notes[i]['damage'].startswith(NO_END) else 1 for i in damaged}
    lost = {i: max(least[i], round(usual - int(index.counts[i]))) for i in damaged}
    for i, count in lost.items() if dist.is_main() else ():
        warnings.warn(
            f'The shard {shards[i].path} is damaged: {index.notes[i]["damage"]}. {int(index.counts[i]):,} images of it are '
            f'known, about {count:,} are lost and count as unreadable. Fetch it again.',
            SelfSupWarning,
            stacklevel=4,
        )
    return sum(lost.values())
