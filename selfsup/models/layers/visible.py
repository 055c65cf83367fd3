"""The documented place of `register_rule` before partly visible maps had a room of their own, `selfsup.models.visible`."""

from ..visible import VisibleMap, encode_visible, register_rule

__all__ = ['VisibleMap', 'encode_visible', 'register_rule']
