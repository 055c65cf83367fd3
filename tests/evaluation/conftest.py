"""What several tests of the evaluation share."""

import pytest

from benchmarks.detection.miniature import write_miniature


@pytest.fixture(scope='module')
def shapes(tmp_path_factory):
    """Folder of the miniature detection data set."""
    folder = tmp_path_factory.mktemp('ap') / 'shapes'
    write_miniature(folder, {'train': 5})
    return folder
