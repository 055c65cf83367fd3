"""Steps on a batch of views on the device, each view with draws of its own that a worker made. Importing this fills the table of forms.

`base.py` says what such a form offers; `colour.py`, `blur.py`, `geometry.py`, `crops.py` and `nested.py` hold them; `shares.py` divides
the pipelines of a data set between the workers and the device. To add one: a `BatchForm` under `@batch_form_of(Step)` in the file of its
kind, and a row in the tests that hold every form against its step.
"""

from . import blur, colour, crops, geometry, nested  # noqa: F401  they fill the table
from .base import BATCH_FORMS, BatchForm, batch_form_of, has_batch_form
from .shares import DeviceShare, HostShare, divide

__all__ = ['BATCH_FORMS', 'BatchForm', 'DeviceShare', 'HostShare', 'batch_form_of', 'divide', 'has_batch_form']
