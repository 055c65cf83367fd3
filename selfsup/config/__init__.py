"""Config files: read them, check them, compile them to what the runner takes.

`load` -> `LoadedConfig` (checked, in the spelling of the file) -> `compile_config` -> runner config (plain dicts) -> `RunConfig` (the
same with typed names, for code that reads it).
Importing this package is cheap; torch and the registries are imported when a file is checked.
"""

from .load import LoadedConfig, default_work_dir, load, work_dir_of
from .run_config import RunConfig
from .short_form import compile_config
from .text import to_text

__all__ = ['LoadedConfig', 'RunConfig', 'compile_config', 'default_work_dir', 'load', 'to_text', 'work_dir_of']
