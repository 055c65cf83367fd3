"""The same images out of every form; and what every form does alike."""

import pickle

import numpy as np
import pytest

from selfsup.datasets.digest import data_digest
from selfsup.registry import DATA_SOURCES

from .written import COUNT, FORMS, images, pixels


@pytest.fixture(scope='module', params=FORMS)
def source(request, tmp_path_factory):
    address = FORMS[request.param](tmp_path_factory.mktemp('form'))
    return DATA_SOURCES.build(DATA_SOURCES.from_text(address))


def image_of(source, index):
    sample = source.get_sample(index)
    return np.asarray(sample[0] if isinstance(sample, tuple) else sample)


def test_the_images_are_those_that_were_written(source):
    assert len(source) == COUNT
    for index, data in enumerate(images()):
        np.testing.assert_array_equal(image_of(source, index), pixels(data))


def test_the_fast_backend_gives_the_same_pixels(source):
    copy = pickle.loads(pickle.dumps(source))  # as a spawned worker gets it
    copy.use_backend('fast')
    np.testing.assert_array_equal(image_of(copy, 7), pixels(images()[7]))


def test_what_travels_to_a_worker_holds_no_images(source):
    source.get_sample(7)
    sent = pickle.dumps(source)
    assert not any(data in sent or pixels(data).tobytes() in sent for data in images())


def test_images_have_names_of_their_own(source):
    assert len({source.describe(index) for index in range(COUNT)}) == COUNT


def test_a_digest_knows_images_whatever_they_are_in(source):
    digest = data_digest(source)
    assert digest['names'] is not None and (digest['sizes'] is None) != (digest['content'] is None)
    assert digest == data_digest(pickle.loads(pickle.dumps(source)))
