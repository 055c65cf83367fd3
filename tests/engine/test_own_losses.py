"""A loss from which nothing can be learned ends the run in its first iteration, in one line."""

import pytest

from selfsup.errors import ConfigError
from selfsup.models.algorithms.base import Step
from selfsup.registry import MODELS
from tests.resume.runs import train, write_config


def test_a_loss_without_a_gradient(tmp_path, monkeypatch):
    kind = MODELS.get('SimCLR')
    own = kind.loss

    def detached(self, img):
        step = own(self, img)
        return Step(
            {name: value.detach() for name, value in step.losses.items()}, step.logs, step.embedding, step.carry
        )

    monkeypatch.setattr(kind, 'loss', detached)
    with pytest.raises(ConfigError, match=r'The losses of SimCLR \(loss\) depend on no parameter that is trained'):
        train(write_config(tmp_path, 'SimCLR'), tmp_path / 'work', 'total_epochs=1', curves=False)
