"""Schemas as Hydra composes them."""

from typing import Any

from omegaconf import DictConfig, OmegaConf


def open_schema(schema: type) -> DictConfig:
    """A class as a schema whose dictionaries take new keys as they are typed: ``key={new: 1}``.

    Hydra refuses keys that it does not know, which are the point of a dictionary.
    """
    node: DictConfig = OmegaConf.structured(schema)
    _open(node)
    return node


def _open(node: DictConfig) -> None:
    for key in node:
        if OmegaConf.is_missing(node, key):
            continue
        child: Any = node._get_node(key)
        if isinstance(child, DictConfig) and not child._is_none():
            if OmegaConf.get_type(child) is dict:
                OmegaConf.set_struct(child, False)
            else:
                _open(child)
