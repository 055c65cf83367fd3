"""Curves and neighbour grids: right files, right colours, clear errors."""

from __future__ import annotations

import itertools
import json
import math

import numpy as np
import pytest
from PIL import Image

from selfsup.datasets.data_sources.boxes import Objects
from selfsup.errors import DataError
from selfsup.evaluation.detection.average_precision import Detections
from selfsup.visualization import receptive_field
from selfsup.visualization.curves import _running_mean, plot_curves
from selfsup.visualization.detections import COLOURS, detection_grid, draw_objects
from selfsup.visualization.neighbours import RIGHT, WRONG, neighbour_grid, neighbours_of
from selfsup.visualization.report import apart


def test_curves_from_a_log(tmp_path):
    log = tmp_path / 'log.json'
    lines = [json.dumps({'step': i, 'loss': 5 - i / 20, 'lr': 0.1, 'tag': 'x'}) for i in range(1, 61)]
    log.write_text('\n'.join([*lines, '{"step": 61, "lo']))  # the last line of a killed run
    one = plot_curves(log, tmp_path / 'new' / 'one.png')
    two = plot_curves(log, tmp_path / 'two.png', keys=('loss', 'lr'), title='A run')
    with Image.open(one) as a, Image.open(two) as b:
        assert a.width == b.width and b.height > 1.5 * a.height
        assert len(a.convert('RGB').getcolors(1 << 20)) > 10  # something is drawn
    with pytest.raises(DataError, match=r"no scalar 'los' in .*log.json. Did you mean 'loss'\? Known: loss, lr, step"):
        plot_curves(log, one, keys=('los',))
    with pytest.raises(DataError, match='cannot be read'):
        plot_curves(tmp_path / 'no.json', one)


def test_curves_from_values(tmp_path):
    plot_curves({'knn': ([5, 10], [50.0, math.nan]), 'loss': [3, 2, 1]}, tmp_path / 'x.png', keys=('knn', 'loss'))
    with pytest.raises(DataError, match="no scalar 'knn'"):
        plot_curves({'knn': []}, tmp_path / 'x.png', keys=('knn',))


def test_running_mean_does_not_lag():
    line = [float(i) for i in range(50)]
    smooth = _running_mean(line, 4)
    assert smooth[2:-2] == line[2:-2] and math.isnan(smooth[0]) and math.isnan(smooth[-1])
    assert _running_mean([1, math.nan, 3], 1)[1] == 2


def _colours(path):
    with Image.open(path) as image:
        return {'#{:02x}{:02x}{:02x}'.format(*colour) for _, colour in image.convert('RGB').getcolors(1 << 20)}


@pytest.mark.parametrize(
    'labels, expected', [([[1, 1]], {RIGHT}), ([[2, 3]], {WRONG}), ([[1, 2]], {RIGHT, WRONG}), (None, set())]
)
def test_frames_tell_right_from_wrong(tmp_path, labels, expected):
    grey = np.full((8, 8), 90, np.uint8)
    path = neighbour_grid(
        [grey], [[grey, Image.fromarray(grey)]], tmp_path / 'x.png', None if labels is None else [1], labels, title='T'
    )
    assert _colours(path) & {RIGHT, WRONG} == expected


def test_neighbours_of_finds_the_nearest(tmp_path):
    angles = np.array([0.0, 0.1, 0.2, 2.0, 2.1, 2.2])
    features = np.stack([np.cos(angles), np.sin(angles)], 1) * np.arange(1, 7)[:, None]
    labels, drawn = [0, 0, 0, 1, 1, 1], []

    def image(i):
        drawn.append(i)
        return np.full((20, 10, 3), 40 * i, np.uint8)

    path = neighbours_of(
        features, image, tmp_path / 'x.png', labels, queries=2, k=2, class_names=['a', 'a much too long name']
    )
    assert drawn == [0, 3, 1, 2, 4, 5]  # a query per class, never its own neighbour
    assert WRONG not in _colours(path) and RIGHT in _colours(path)
    neighbours_of(features, image, tmp_path / 'y.png', queries=3, k=5)
    with pytest.raises(DataError, match='6 images do not give'):
        neighbours_of(features, image, path, k=6)


@pytest.mark.parametrize(
    'args, message',
    [
        (([], []), 'no picture'),
        ((['q'], [[]]), 'no picture'),
        ((['q'], [['a'], ['b']]), '1 queries'),
        ((['q'], [['a']], None), 'or neither'),
        ((['q'], [['a', 'b']], [[1]]), 'one label for every picture'),
    ],
)
def test_grid_errors(tmp_path, args, message):
    queries, neighbours, *labels = args
    with pytest.raises(DataError, match=message):
        neighbour_grid(queries, neighbours, tmp_path / 'x.png', *([[1], *labels] if labels else []))


class Boxes:
    """Two grey images with an object of each class; as much of a `BoxSource` as the grid uses."""

    classes = ('cat', 'dog')

    def read_image(self, index):
        return Image.new('RGB', (60, 40 + 20 * index), '#5a5a5a')

    def objects(self, index):
        return Objects(
            np.array([[5, 20, 25, 35], [30, 20, 55, 35]], np.float32), np.array([0, 1]), np.array([False, index == 1])
        )


def test_detections_are_drawn_beside_the_annotations(tmp_path):
    boxes = np.array([[5, 20, 25, 35], [-10, -10, 900, 900]], np.float32)
    detections = [
        Detections(boxes, np.array([0, 1]), np.array(scores, np.float32)) for scores in ([0.9, 0.4], [0.3, 0.2])
    ]
    path = detection_grid(Boxes(), detections, 8, tmp_path / 'new' / 'x.png', cell=120)
    with Image.open(path) as grid:
        width = (grid.width - 32) / 4
        columns = [
            grid.convert('RGB').crop((int(16 + i * width), 0, int(16 + (i + 1) * width), grid.height)) for i in range(4)
        ]
    found = [
        {'#{:02x}{:02x}{:02x}'.format(*colour) for _, colour in column.getcolors(1 << 20)} & set(COLOURS)
        for column in columns
    ]
    both = set(COLOURS[:2])
    assert found == [both, {COLOURS[0]}, both, set()]  # scores of 0.4 and less are not shown


def test_the_grid_of_detections_has_full_rows(tmp_path):
    none = Detections(np.zeros((0, 4), np.float32), np.zeros(0, int), np.zeros(0, np.float32), [])
    sizes = []
    for number in (1, 2, 4):
        source = Boxes()
        source.read_image = lambda index: Image.new('RGB', (60, 40))
        with Image.open(detection_grid(source, [none] * number, number, tmp_path / f'{number}.png', cell=100)) as grid:
            sizes.append(grid.size)
    assert [width for width, _ in sizes] == [236, 444, 652] and sizes[0][1] == sizes[1][1] == sizes[2][1] - 104


def test_boxes_and_masks_lie_where_they_belong():
    image = Image.new('RGB', (40, 20), '#000000')
    mask = np.zeros((1, 20, 40), np.uint8)
    mask[0, 10:18, 4:12] = 1
    box = np.array([[4, 10, 12, 18]], np.float32)
    drawn = np.asarray(draw_objects(image, box, np.array([1]), ['dog'], mask, 400)).astype(int)
    colour = np.array([int(COLOURS[1][i : i + 2], 16) for i in (1, 3, 5)])
    assert drawn.shape == (200, 400, 3)
    assert (drawn[100, 80] == colour).all() and (drawn[140, 41] == colour).all()  # upper and left line
    # Half transparent inside, nothing outside.
    assert 0 < drawn[140, 80].sum() < colour.sum() and drawn[140, 200].sum() == 0
    assert np.array_equal(drawn, np.asarray(draw_objects(image, box, np.array([1 + len(COLOURS)]), ['dog'], mask, 400)))
    twice = np.asarray(
        draw_objects(
            image, np.repeat(box, 2, axis=0), np.array([1, 0]), ['dog', 'cat'], np.repeat(mask, 2, axis=0), 400
        )
    )
    # The first on top, masks mixed.
    assert (twice[100, 80] == colour).all() and twice[140, 80].sum() > drawn[140, 80].sum()
    assert draw_objects(image, np.zeros((0, 4), np.float32), np.zeros(0, int), [], None, 10).size == (10, 5)


def test_a_source_names_the_classes_of_the_neighbours(tmp_path):
    class Source:
        classes = ('cat', 'dog')

        def read_image(self, index):
            return Image.new('RGB', (30, 30), (40 * index, 0, 0))

    features, labels = np.eye(4)[[0, 0, 1, 1]], [0, 0, 1, 1]
    named = neighbours_of(features, Source(), tmp_path / 'named.png', labels, queries=2, k=2)
    told = neighbours_of(
        features, Source().read_image, tmp_path / 'told.png', labels, queries=2, k=2, class_names=['cat', 'dog']
    )
    numbers = neighbours_of(features, Source().read_image, tmp_path / 'numbers.png', labels, queries=2, k=2)
    assert named.read_bytes() == told.read_bytes() != numbers.read_bytes()


@pytest.mark.parametrize(
    'values, gap, expected',
    [
        ([1.0, 5.0], 2.0, [1.0, 5.0]),
        ([4.0, 4.0], 2.0, [3.0, 5.0]),
        ([1.0, 1.5, 9.0], 2.0, [0.25, 2.25, 9.0]),
        ([0.0, 1.0, 2.0, 2.1], 1.0, None),
        ([], 1.0, []),
    ],
)
def test_labels_are_moved_apart(values, gap, expected):
    found = apart(values, gap)
    if expected is not None:
        assert found == pytest.approx(expected)
    assert all(b - a >= gap - 1e-9 for a, b in itertools.pairwise(found))
    assert sum(found) == pytest.approx(sum(values))  # as many up as down


def test_squares_of_a_field_are_named_in_the_legend(tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr(receptive_field, 'save_figure', lambda figure, path: drawn.append(figure) or path)
    receptive_field.receptive_field_picture(np.ones((9, 9)), [(0.2, 3), (0.3, 3), (0.99, 7)], tmp_path / 'x.png')
    texts = [text.get_text() for text in drawn[0].legends[0].get_texts()]
    assert texts == ['20%: 3 x 3', '30%: 3 x 3', '99%: 7 x 7']
    assert not drawn[0].axes[0].texts  # nothing is written over the squares, where labels of one size would overlap
    styles = [patch.get_linestyle() for patch in drawn[0].axes[0].patches]
    assert len(set(styles)) == 3
