"""The ground of every part of a configuration: strict, frozen, and with did-you-mean for a wrong key."""

import types
from typing import Any, ClassVar, Union, get_args, get_origin

from pydantic import BaseModel, ConfigDict, ValidationInfo, field_validator, model_validator
from pydantic.fields import FieldInfo
from pydantic_core import PydanticCustomError

from mmalign.config.called import meant
from mmalign.plugins import nearest


class Section(BaseModel):
    """A part of a configuration. A key it does not know is an error that names the nearest one.

    Attributes:
        word: the key that a bare word in place of the section stands for, where the section can be given so.
    """

    word: ClassVar[str] = "name"

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, protected_namespaces=())

    @model_validator(mode="before")
    @classmethod
    def _known_keys(cls, values: Any) -> Any:
        for key in values if isinstance(values, dict) else ():
            if key not in cls.model_fields:
                hint = meant(str(key), cls.model_fields) or nearest(str(key), list(cls.model_fields))
                raise PydanticCustomError("unknown_key", "{hint}", {"key": str(key), "hint": hint})
        return values

    @field_validator("*", mode="before")
    @classmethod
    def _no_switch_for_a_number(cls, value: Any, info: ValidationInfo) -> Any:
        kinds = members(cls.model_fields[str(info.field_name)].annotation)
        # pydantic would read true as 1
        if isinstance(value, bool) and bool not in kinds and {int, float} & kinds:
            raise PydanticCustomError("number", "it should be a number")
        return value

    @classmethod
    def part(cls, field: str, value: Any) -> "type[Section] | None":
        """The class of a nested section, or None for a plain value; unions by ``name`` look at the value given."""
        annotation = cls.model_fields[field].annotation
        return annotation if isinstance(annotation, type) and issubclass(annotation, Section) else None


def named_mapping(value: Any) -> dict[Any, Any]:
    """A section that is chosen by name, where a bare name stands for the section with its defaults."""
    if isinstance(value, str):
        return {"name": value}
    if not isinstance(value, dict):
        raise PydanticCustomError("section", "it should be a name, or a section of keys with a name")
    return value


def members(annotation: Any) -> set[Any]:
    """The types of a union, or the one type; of a generic its origin."""
    if get_origin(annotation) in (Union, types.UnionType):
        return set().union(*(members(part) for part in get_args(annotation)))
    return {get_origin(annotation) or annotation}


def item_type(info: FieldInfo) -> Any:
    """What a list holds, or None where the field is no list."""
    for kind in (info.annotation, *get_args(info.annotation)):
        if get_origin(kind) in (list, tuple):
            return get_args(kind)[0]
    return None
