"""A part of a record's configuration as the dataclass that it was."""

from collections.abc import Mapping
from typing import Any, TypeVar, cast

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from loradrift.config.errors import UserError

Part = TypeVar("Part")


def recorded(schema: type[Part], values: Mapping[str, Any], where: str) -> Part:
    """Read ``values`` back as a ``schema``; what an earlier version did not know has its default.

    Raises:
        UserError: If they are no such part; begins with ``where`` they are recorded.
    """
    try:
        merged = OmegaConf.merge(OmegaConf.structured(schema), dict(values))
        return cast(Part, OmegaConf.to_object(merged))
    except (OmegaConfBaseException, TypeError, ValueError) as error:
        reason = str(error).strip().split("\n")[0]
        raise UserError(f"{where} cannot be read by this version: {reason}") from None
