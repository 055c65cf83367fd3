"""Every registry of the project.

Each is a child of mmengine's root registry of the same kind, so mmengine's own parts (`IterTimerHook`, `SGD`, ...) are
found by their plain names too. A miss names the nearest names. Modules that register something are imported on the
first look-up (`locations`), not when this file is imported.
"""

from __future__ import annotations

import inspect
import sys
import traceback
from importlib import import_module
from pathlib import Path
from typing import Any

from mmengine import registry as roots
from mmengine.registry import Registry as MMRegistry

from .arguments import held
from .errors import ConfigError, SelfSupError, UnknownNameError, did_you_mean


def build_from_config(cfg: dict | str, *args: Any, registry: Registry, **defaults: Any) -> Any:
    """Build what `cfg['type']` names with the rest of `cfg` as keyword arguments.

    Args:
        cfg: `dict(type=name or class, **arguments)`; left unchanged. Or a string, where the registry reads such.
        registry: where the name is looked up.
        defaults: arguments used where `cfg` does not give them.

    Raises:
        ConfigError: `cfg` is no dict with a `type`, or an argument is unknown, missing or of a wrong kind.
        UnknownNameError: no such name.
    """
    if isinstance(cfg, str) and registry.reads_text:
        cfg = registry.from_text(cfg)
    if not isinstance(cfg, dict) or 'type' not in cfg:
        raise ConfigError(f"A {registry.name} is written dict(type='Name', ...); got {cfg!r}.")
    kwargs = {**defaults, **cfg}
    kind = kwargs.pop('type')
    cls = kind if callable(kind) else registry.get(kind)
    label = f"{registry.name} type='{getattr(cls, '__name__', cls)}'"
    try:
        signature = inspect.signature(cls)
        signature.bind(*args, **kwargs)
    except TypeError as error:
        accepted = [p for p in signature.parameters if p not in ('self', 'args', 'kwargs')]
        wrong = next((k for k in kwargs if f"'{k}'" in str(error) and k not in accepted), '')
        hint = did_you_mean(wrong, accepted) if wrong else f' Arguments: {", ".join(accepted)}.'
        raise ConfigError(f'{label}: {error}.{hint}') from None
    except ValueError:  # some builtins have no signature
        pass
    try:
        return cls(*args, **kwargs)
    except SelfSupError:
        raise
    except Exception as error:  # whatever a class makes of what it was given, a user's own class too
        plain = {k: v for k, v in kwargs.items() if isinstance(v, (type(None), bool, int, float, str, list, tuple))}
        raise ConfigError(f'{label} could not be built from {plain!r}: {reason_of(error)}') from error


def reason_of(error: Exception) -> str:
    """One line of why a call failed; with kind and place where the message alone tells little."""
    text = str(error).partition('\n')[0]  # torch goes on with the signatures that it has
    # A RuntimeError is how torch refuses a negative size.
    if isinstance(error, TypeError | ValueError | RuntimeError) and text:
        return text
    frames = traceback.extract_tb(error.__traceback__)
    where = f' ({Path(frames[-1].filename).name}:{frames[-1].lineno})' if frames else ''
    return f'{type(error).__name__}{f": {text}" if text else ""}{where}'


class Registry(MMRegistry):
    """A name -> class table with plain names, lazy imports and did-you-mean.

    Unlike its parent it never imports a dotted path that a config names: a config can only reach what is registered.

    Args:
        name: what the entries are, in the singular, for messages ("backbone").
        parent: mmengine's root registry of the kind, or None.
        scope: 'selfsup' for the child that mmengine's Runner looks things up in (one per root); any other unique word
            for further registries of the same root.
        locations: modules whose import registers the entries.
        build_func: how `build` builds; None takes ours.
        written: 'module:function' of what reads a part that is written as one string: text -> `dict(type=..., ...)`; '': none is.
    """

    def __init__(
        self,
        name: str,
        parent: MMRegistry | None = None,
        scope: str = 'selfsup',
        locations: tuple = (),
        build_func: Any = None,
        written: str = '',
    ) -> None:
        super().__init__(
            name, parent=parent, scope=scope, locations=list(locations), build_func=build_func or build_from_config
        )
        self._written = written

    @property
    def reads_text(self) -> bool:
        """Whether a part may be written as one string."""
        return bool(self._written)

    def from_text(self, text: str) -> dict[str, Any]:
        """The `dict(type=..., ...)` that a string stands for, where the registry `reads_text`.

        Raises:
            ConfigError: it cannot be read.
        """
        module, _, function = self._written.partition(':')
        return getattr(import_module(module), function)(text)

    def register_module(self, name: Any = None, force: bool = False, module: Any = None) -> Any:
        """Register a class or function, as a decorator or by a call.

        The decorator holds it to the hints of its arguments (`selfsup.arguments`): where a class is written, they are a promise. What is
        registered by a call, `register_module(module=...)`, or written in another module, is mostly somebody else's and stays as it is.
        """
        if module is not None:
            return super().register_module(name, force, module)
        here = sys._getframe(1).f_globals.get('__name__')

        def register(written: Any) -> Any:
            ours = getattr(written, '__module__', None) == here
            return super(Registry, self).register_module(name, force, held(written) if ours else written)

        return register

    _imported: bool

    def import_from_location(self) -> None:
        if not self._imported:
            self._imported = True  # first: the modules below look names up themselves
            for module in self._locations:
                import_module(module)

    def find(self, key: str) -> type | None:
        """The class registered as `key` here or in a parent; None when there is none."""
        self.import_from_location()
        registry: MMRegistry | None = self
        while registry is not None:
            registry.import_from_location()
            if key in registry._module_dict:
                return registry._module_dict[key]
            registry = registry.parent
        return None

    def get(self, key: str) -> type:
        """The class registered as `key`; a `selfsup.` prefix is allowed.

        Raises:
            UnknownNameError: no such name; the message offers the nearest ones.
        """
        if not isinstance(key, str):
            raise ConfigError(f"A {self.name}'s type is a name; got {key!r}.")
        cls = self.find(key.removeprefix('selfsup.'))
        if cls is None:
            raise UnknownNameError(f"type='{key}' is not a {self.name}.{did_you_mean(key, self.names())}")
        return cls

    def registered(self) -> dict[str, Any]:
        """Name -> class or function, without those of the parent."""
        self.import_from_location()
        return dict(self._module_dict)

    def names(self) -> list[str]:
        """Names to offer a user, sorted: those registered here and, where mmengine's own are as usable, the parent's."""
        self.import_from_location()
        usable = (roots.HOOKS, roots.OPTIMIZERS, roots.PARAM_SCHEDULERS, roots.VISUALIZERS, roots.VISBACKENDS)
        inherited = self.parent._module_dict if self.parent in usable else {}
        return sorted({*self._module_dict, *inherited})

    def __contains__(self, key: object) -> bool:
        return isinstance(key, str) and self.find(key) is not None


def _root_child(name: str, root: MMRegistry, *locations: str) -> Registry:
    """A child that mmengine's Runner looks into; it keeps the root's way of building."""
    builds_as_usual = root.build_func is roots.build_from_cfg
    return Registry(name, parent=root, locations=locations, build_func=None if builds_as_usual else root.build_func)


# Models. Parts have registries of their own, so that a misspelt backbone is answered with the names of backbones.
MODELS = Registry('algorithm', parent=roots.MODELS, locations=('selfsup.models.algorithms',))
BACKBONES = Registry('backbone', parent=roots.MODELS, scope='selfsup_backbone', locations=('selfsup.models.backbones',))
NECKS = Registry('neck', parent=roots.MODELS, scope='selfsup_neck', locations=('selfsup.models.necks',))
HEADS = Registry('head', parent=roots.MODELS, scope='selfsup_head', locations=('selfsup.models.heads',))
BATCH_AUGMENTS = Registry(
    'batch augmentation', scope='selfsup_batch_augment', locations=('selfsup.models.layers.mixup',)
)
MEMORIES = Registry('memory', parent=roots.MODELS, scope='selfsup_memory', locations=('selfsup.models.memories',))

# Data.
DATASETS = _root_child('dataset', roots.DATASETS, 'selfsup.datasets')
DATA_SOURCES = Registry(
    'data source',
    parent=roots.DATASETS,
    scope='selfsup_data_source',
    locations=('selfsup.datasets.data_sources',),
    written='selfsup.datasets.data_sources.addresses:source_config',
)
PIPELINES = _root_child('pipeline step', roots.TRANSFORMS, 'selfsup.datasets.pipelines')
SAMPLERS = _root_child('sampler', roots.DATA_SAMPLERS, 'mmengine.dataset', 'selfsup.datasets.loaders')

# Training.
HOOKS = _root_child('hook', roots.HOOKS, 'mmengine.hooks', 'selfsup.hooks')
OPTIMIZER_FILES = ('lars', 'barlow_lars', 'larc', 'lamb')
OPTIMIZERS = _root_child(
    'optimizer', roots.OPTIMIZERS, 'mmengine.optim', *(f'selfsup.optim.{name}' for name in OPTIMIZER_FILES)
)
OPTIM_WRAPPERS = _root_child('optimizer wrapper', roots.OPTIM_WRAPPERS, 'mmengine.optim', 'selfsup.engine')
PARAM_SCHEDULERS = _root_child('parameter scheduler', roots.PARAM_SCHEDULERS, 'mmengine.optim', 'selfsup.engine')
LOOPS = _root_child('loop', roots.LOOPS, 'selfsup.engine')
RUNNERS = _root_child('runner', roots.RUNNERS, 'selfsup.engine')

# Kinds in which mmengine looks for a 'selfsup' child and we have (almost) nothing of our own: without a child it warns.
OTHERS = tuple(
    _root_child(root.name, root, *locations)
    for root, locations in (
        (roots.RUNNER_CONSTRUCTORS, ()),
        (roots.STRATEGIES, ()),
        (roots.MODEL_WRAPPERS, ()),
        (roots.WEIGHT_INITIALIZERS, ()),
        (roots.OPTIM_WRAPPER_CONSTRUCTORS, ()),
        (roots.METRICS, ()),
        (roots.EVALUATOR, ()),
        (roots.TASK_UTILS, ()),
        (roots.VISUALIZERS, ()),
        (roots.VISBACKENDS, ()),
        (roots.LOG_PROCESSORS, ()),
        (roots.INFERENCERS, ()),
        (roots.FUNCTIONS, ()),
    )
)
