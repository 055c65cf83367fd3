"""What a training step sends and what a process holds, as formulas: for planning runs of up to a thousand GPUs.

`collectives` follows the code of each method line by line; `tests/distributed/test_traffic.py` counts what two processes really exchange
and finds the same bytes. Numbers are float32 where nothing else is said. One step is one micro-batch with `update_interval=1`.

Letters: W processes, B images per process, D numbers per embedding, K classes, clusters or queue, N images of the data set.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

FLOAT, LONG = 4, 8
# numbers kept per trained weight
OPTIMIZER_COPIES = MappingProxyType({'SGD': 1, 'LARS': 1, 'BarlowLARS': 1, 'LARC': 1, 'AdamW': 2, 'LAMB': 2})
CROPS = ('DINO', 'LeJEPA', 'SwAV')
# bytes per (view, view) pair of SimCLR's loss, forward and backward; per (image, key) of the other contrastive losses; see `memory`
PAIR, LOGIT = 32, 16
DENSE_LOGITS = 2**24  # of DenseCL, at a time: `LOGITS_AT_ONCE` of its file
CONTRAST = ('MOCO', 'DenseCL', 'MoCoV3', 'NNCLR')


@dataclass(frozen=True)
class Sizes:
    """What the formulas need to know of a method and its networks.

    Attributes:
        method: name of the algorithm class.
        trained: parameters with a gradient.
        fixed: numbers of the model that have none: frozen weights, running statistics.
        copied: numbers of the momentum copies, see `Algorithm.momentum_copies`.
        batch: B.
        image: numbers of one view, C * H * W.
        dim: D.
        entries: K: queue (MoCo, DenseCL, NNCLR), clusters (ODC, DeepCluster), prototypes (SwAV), outputs (DINO), slices times points of
            the grid (LeJEPA).
        views: V, of the methods that read crops of several sizes.
        queue: of SwAV; 0 is none.
        channels: of the last map (DenseCL).
        positions: of the dense embeddings (DenseCL).
        images: N, where a bank has an entry for each.
        negatives: drawn per image (NPID).
        logs: values that each iteration logs, losses among them.
        norms: channels of the batch norms that share their statistics over the visible positions of all processes (SparK, FCMAE).
        synced: channels of torch's SyncBatchNorms, which run on GPUs.
        optimizer: a name in `OPTIMIZER_COPIES`.
    """

    method: str
    trained: int
    fixed: int = 0
    copied: int = 0
    batch: int = 32
    image: int = 3 * 224 * 224
    dim: int = 128
    entries: int = 0
    views: int = 2
    queue: int = 0
    channels: int = 0
    positions: int = 0
    images: int = 0
    negatives: int = 0
    logs: int = 1
    norms: tuple[int, ...] = ()
    synced: tuple[int, ...] = ()
    optimizer: str = 'SGD'


@dataclass(frozen=True)
class Collective:
    """One kind of message of a step, of all that are alike together.

    Attributes:
        what: for people.
        kind: 'all_reduce', 'all_gather', 'reduce_scatter' or 'broadcast'.
        payload: bytes of what every process holds afterwards (before, for a reduce_scatter).
        needed_by: 'forward', 'backward', 'step' (after it), 'log'.
    """

    what: str
    kind: str
    payload: int
    needed_by: str = field(default='forward', compare=False)


def sent(kind: str, payload: int, world: int) -> float:
    """Bytes that one process sends in a ring, which is the least that any way needs; it receives as many.

    A reduce of n bytes to W shares, and a gather of the shares, pass (W - 1) / W * n each; an all-reduce is both (Thakur et al. 2005,
    sections 4.1 and 4.5). A broadcast as scatter and gather costs each process as much as a gather, on average.
    """
    share = payload * (world - 1) / world
    return 2 * share if kind == 'all_reduce' else share


def collectives(sizes: Sizes, world: int) -> list[Collective]:
    """Everything that one step of DDP training exchanges; nothing for one process.

    Args:
        sizes: of the method.
        world: W.
    """
    if world == 1:
        return []
    return [
        *_of_method(sizes, world),
        *_of_norms(sizes, world),
        Collective('gradients', 'all_reduce', FLOAT * sizes.trained, 'backward'),
        Collective('logged values', 'all_reduce', FLOAT * sizes.logs, 'log'),
    ]


def _of_method(s: Sizes, world: int) -> list[Collective]:
    rows = s.batch * world
    vectors = FLOAT * rows * s.dim
    if s.method in CONTRAST:
        return _of_contrast(s, rows, vectors)
    if s.method in ('SimCLR', 'BarlowTwins', 'VICReg'):
        return [
            Collective('embeddings of both views', 'all_gather', 2 * vectors),
            Collective('their gradients', 'all_reduce', 2 * vectors, 'backward'),
        ]
    if s.method in ('NPID', 'ODC'):
        banked = [
            Collective('numbers of the images', 'all_gather', LONG * rows, 'step'),
            Collective('features for the bank', 'all_gather', vectors, 'step'),
        ]
        if s.method == 'NPID':
            return banked
        return [
            Collective('mean weight', 'all_reduce', FLOAT),
            *banked,
            Collective('rows of the bank', 'all_reduce', vectors, 'step'),
        ]
    if s.method == 'DeepCluster':
        return [Collective('mean weight', 'all_reduce', FLOAT)]
    if s.method in CROPS:
        return _of_crops(s, rows)
    if s.method in ('SparK', 'FCMAE'):
        return [Collective('number of hidden patches', 'all_reduce', LONG)]
    return []


def _of_contrast(s: Sizes, rows: int, vectors: int) -> list[Collective]:
    if s.method == 'MoCoV3':
        return [Collective('keys of both views', 'all_gather', 2 * vectors)]
    if s.method == 'NNCLR':
        return [
            Collective('predictions of both views', 'all_gather', 2 * vectors),
            Collective('their gradients', 'all_reduce', 2 * vectors, 'backward'),
            Collective('embeddings for the queue', 'all_gather', vectors, 'step'),
        ]
    found = [
        Collective('order of the shuffle', 'broadcast', LONG * rows),
        Collective('images, shuffled', 'all_gather', FLOAT * rows * s.image),
        Collective('keys, put back', 'all_gather', vectors),
        Collective('keys for the queue', 'all_gather', vectors, 'step'),
    ]
    if s.method == 'DenseCL':
        found += [
            Collective('dense keys, put back', 'all_gather', vectors * s.positions),
            Collective('maps of the keys, put back', 'all_gather', FLOAT * rows * s.channels * s.positions),
            Collective('dense keys for the queue', 'all_gather', vectors, 'step'),
        ]
    return found


def _of_crops(s: Sizes, rows: int) -> list[Collective]:
    if s.method == 'DINO':
        return [Collective('mean output of the teacher', 'all_reduce', FLOAT * s.entries, 'step')]
    if s.method == 'LeJEPA':
        payload = 2 * FLOAT * s.views * s.entries  # cosine and sine
        return [
            Collective('characteristic functions', 'all_reduce', payload),
            Collective('their gradients', 'all_reduce', payload, 'backward'),
        ]
    queue = [Collective('embeddings for the queue', 'all_gather', 2 * FLOAT * rows * s.dim, 'step')] if s.queue else []
    return [
        Collective('largest scores', 'all_reduce', 2 * FLOAT),
        Collective('mass of the prototypes, three times', 'all_reduce', 3 * 2 * FLOAT * s.entries),
        *queue,
    ]


def _of_norms(s: Sizes, world: int) -> list[Collective]:
    found = []
    if s.norms:
        payload = FLOAT * world * sum(2 * channels + 1 for channels in s.norms)
        found += [
            Collective('statistics of visible positions', 'all_gather', payload),
            Collective('their gradients, visible', 'all_reduce', payload, 'backward'),
        ]
    if s.synced:
        found += [
            Collective('statistics', 'all_gather', FLOAT * world * sum(2 * channels + 1 for channels in s.synced)),
            Collective('their gradients', 'all_reduce', FLOAT * sum(2 * channels for channels in s.synced), 'backward'),
        ]
    return found


def between_steps(s: Sizes, world: int) -> list[Collective]:
    """What is exchanged now and then: by a hook, between epochs, at a checkpoint. Nothing for one process."""
    if world == 1:
        return []
    if s.method == 'ODC':
        each = -(-s.images // world) * world  # shards are equally long
        return [
            Collective('sums of the centroids, at each renewal', 'all_reduce', FLOAT * s.entries * s.dim),
            Collective('bank, at a checkpoint', 'all_gather', FLOAT * each * s.dim),
            Collective('bank, after the first clustering', 'broadcast', FLOAT * s.images * s.dim),
        ]
    if s.method == 'DeepCluster':
        each = -(-s.images // world) * world
        return [
            Collective('features, per epoch', 'all_gather', FLOAT * each * s.dim),
            Collective('labels, per epoch', 'broadcast', LONG * s.images),
        ]
    return []


def sharded_collectives(sizes: Sizes, world: int, *, reshard: bool = True) -> list[Collective]:
    """The same with `fsdp`: weights are gathered for the forward pass, and with `reshard` for the backward pass again; gradients are summed
    where they are kept."""
    if world == 1:
        return []
    weights = FLOAT * (sizes.trained)
    rest = [one for one in collectives(sizes, world) if one.what != 'gradients']
    passes = ('forward', 'backward') if reshard else ('forward',)
    return [
        *rest,
        *(Collective(f'weights, {when}', 'all_gather', weights, when) for when in passes),
        Collective('gradients', 'reduce_scatter', weights, 'backward'),
    ]


def memory(sizes: Sizes, world: int, *, fsdp: bool = False) -> Mapping[str, float]:
    """Bytes that one process holds beside the activations of its network.

    The loss of SimCLR keeps about `PAIR` bytes for each pair of its 2 B views with all 2 B W: similarities (4), the columns of the others
    (8), those similarities (4), logits and their scaled copy (8), log-probabilities (4) and a gradient (4). Losses with a queue or a bank
    keep `LOGIT` bytes for each logit; NPID's draws 8 more. Barlow Twins and VICReg keep the centred embeddings of both views, their
    gradients, and products of D x D numbers (one, VICReg one per view), or where the global batch N is smaller, two of N x N. DenseCL
    computes its dense logits in shares of `DENSE_LOGITS`.

    Args:
        sizes: of the method.
        world: W.
        fsdp: weights, gradients and optimizer state are dealt out; the largest gathered block is not counted.
    """
    share = world if fsdp else 1
    kept = OPTIMIZER_COPIES[sizes.optimizer]
    found: dict[str, float] = {
        'weights': FLOAT * (sizes.trained / share + sizes.fixed),
        'gradients': FLOAT * sizes.trained / share,
        'DDP buckets': 0 if fsdp or world == 1 else FLOAT * sizes.trained,
        'optimizer': FLOAT * kept * sizes.trained / share,
        'momentum copy': FLOAT * sizes.copied,
        'queue or bank': _bank(sizes, world),
        'loss': _loss(sizes, world),
        'gathered rows': _gathered(sizes, world),
    }
    return {name: value for name, value in found.items() if value}


def _bank(s: Sizes, world: int) -> int:
    if s.method in CONTRAST:
        queues = {'MoCoV3': 0, 'DenseCL': 2}.get(s.method, 1)
        return queues * FLOAT * s.entries * s.dim
    if s.method == 'SwAV':
        return 2 * FLOAT * s.queue * s.dim
    if s.method == 'NPID':
        return FLOAT * s.images * s.dim
    if s.method == 'ODC':
        shard = -(-s.images // world) + 1  # one row more takes writes that are for others
        return FLOAT * shard * s.dim + LONG * s.images + FLOAT * s.entries * s.dim
    return 0


def _loss(s: Sizes, world: int) -> int:
    if s.method == 'SimCLR':
        return PAIR * (2 * s.batch) * (2 * s.batch * world)
    if s.method in ('BarlowTwins', 'VICReg'):
        rows, one = s.batch * world, s.method == 'BarlowTwins' and s.batch * world >= s.dim
        return FLOAT * ((1 if one else 2) * min(rows, s.dim) ** 2 + 4 * rows * s.dim)
    if s.method in ('MOCO', 'DenseCL'):
        logits = s.batch * (s.entries + 1)
        return LOGIT * (logits + min(s.positions * logits, DENSE_LOGITS))
    if s.method in ('MoCoV3', 'NNCLR'):  # NNCLR: and similarities with the queue, of one view at a time
        return LOGIT * 2 * s.batch * s.batch * world + FLOAT * s.batch * s.entries
    if s.method == 'NPID':
        return FLOAT * s.batch * s.images + (LOGIT + LONG) * s.batch * s.negatives
    if s.method in ('ODC', 'DeepCluster'):
        return LOGIT * s.batch * s.entries
    if s.method in ('DINO', 'SwAV'):  # as many bytes per logit of a crop, and per target of the two large ones
        return LOGIT * (s.batch * (s.views + 2) + 2 * s.queue // world) * s.entries
    if s.method == 'LeJEPA':  # angles, their cosines and sines, a gradient
        return LOGIT * s.views * s.batch * s.entries
    return 0


def _gathered(s: Sizes, world: int) -> int:
    """The largest result of a gather, while it is there: the parts and their concatenation."""
    gathers = [one.payload for one in collectives(s, world) if one.kind == 'all_gather']
    return 2 * max(gathers, default=0)
