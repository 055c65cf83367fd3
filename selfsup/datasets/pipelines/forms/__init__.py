"""Other ways to compute the same steps: fast on the CPU, or for a whole batch on the device. Importing this fills the table of forms.

A form belongs to one step of `pipelines/` and draws what that step draws, from the same generators in the same order; only the way to
compute differs. `base.py` says what a form offers, `fast.py` runs a pipeline through the forms of its steps. The forms lie in `crops.py`,
`turns.py`, `jitter.py`, `policies.py`, `nested.py` and `tensors.py`; what they compute on arrays in `colours.py`, `filters.py`,
`tables.py` and `warps.py`. To add one: a `Form` under `@form_of(Step)` in the file of its kind, and a row in the tests that hold every
form against its step.
"""

from . import crops, jitter, nested, policies, turns
from .base import FORMS, Form, form_of, has_form
from .fast import FastPipeline, Unfinished, as_array, as_pil, stack
from .tensors import planes

__all__ = [
    'FORMS',
    'FastPipeline',
    'Form',
    'Unfinished',
    'as_array',
    'as_pil',
    'crops',
    'form_of',
    'has_form',
    'jitter',
    'nested',
    'planes',
    'policies',
    'stack',
    'turns',
]
