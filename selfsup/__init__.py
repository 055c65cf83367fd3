"""selfsup: self-supervised vision from config files. See README.md; heavy imports wait until a submodule needs them."""

__version__ = '0.1.0'
