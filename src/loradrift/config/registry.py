"""How a task or a method that is registered becomes an option of the command line."""

from collections.abc import Iterable

from hydra.core.config_store import ConfigStore
from omegaconf import OmegaConf


def store_option(group: str, name: str, schema: type, **values: object) -> None:
    """Make ``schema/<group>/<name>`` known to the files in ``conf/``, and ``<group>=<name>``.

    A file of that name takes the place of the second.

    Args:
        group: ``task`` or ``method``.
        name: Of the option.
        schema: Judges its values.
        values: What the option sets beside its name.
    """
    store = ConfigStore.instance()
    # apart from the options, so that completion offers those alone
    store.store(group=f"schema/{group}", name=name, node=schema)
    option = OmegaConf.merge(
        OmegaConf.structured(schema), OmegaConf.create(values | {"name": name})
    )
    store.store(group=group, name=name, node=option)


def one_of(names: Iterable[str]) -> str:
    """``a``, or ``one of a, b``, in a message."""
    names = list(names)
    return ("one of " if len(names) > 1 else "") + ", ".join(names)
