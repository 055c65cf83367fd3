"""A file of torchvision."""

import pytest
import torchvision

from .networks import randomised, save


@pytest.fixture(scope='package')
def resnet18(tmp_path_factory):
    return save(
        randomised(torchvision.models.resnet18()).state_dict(), tmp_path_factory.mktemp('resnet18') / 'resnet18.pth'
    )
