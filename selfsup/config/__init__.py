"""Config files: read them, check them, compile them to what the runner takes.

`load` -> `LoadedConfig` (checked, in the spelling of the file) -> `compile_config` -> runner config (plain dicts) -> `RunConfig` (the
same with typed names, for code that reads it).
Importing this package is cheap; torch and the registries are imported when a file is checked.
"""

from .backend import backend_of, names_backend, recorded_backend, with_backend
from .load import LoadedConfig, default_work_dir, load, work_dir_of
from .run_config import RunConfig
from .short_form import compile_config
from .text import to_text

__all__ = [
    'LoadedConfig',
    'RunConfig',
    'backend_of',
    'compile_config',
    'default_work_dir',
    'load',
    'names_backend',
    'recorded_backend',
    'to_text',
    'with_backend',
    'work_dir_of',
]
