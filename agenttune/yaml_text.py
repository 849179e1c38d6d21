"""YAML as people write configs and suites: plain data, in a bounded amount of work, and dates as the text that they are written as."""

from __future__ import annotations

from typing import Any

import yaml

from agenttune.errors import UserError

MAX_TEXT = 1 << 20  # characters
MAX_VALUES = 100_000  # of a document whose aliases are written out
_DATE = "tag:yaml.org,2002:timestamp"


class _Loader(yaml.SafeLoader):
    """Of YAML 1.1 without dates: nothing in a config is one, and ``2026-11-31`` is a fine name of a folder."""


_RESOLVERS = yaml.SafeLoader.yaml_implicit_resolvers
_Loader.yaml_implicit_resolvers = {key: [one for one in some if one[0] != _DATE] for key, some in _RESOLVERS.items()}


def yaml_value(text: str, what: str) -> Any:
    """The value of a YAML text. Raises `UserError`, which names the text as `what`, for what is no YAML, and for more than a person writes.

    Aliases and merge keys are allowed; what they stand for is counted before anything is built, since a few hundred bytes of them can ask
    for gigabytes.
    """
    if len(text) > MAX_TEXT:
        raise UserError(f"{what} is longer than a YAML file of settings can be ({MAX_TEXT:,} characters)")
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        if node is None:
            return None
        if _values(node, {}) > MAX_VALUES:
            raise UserError(f"{what} stands for more than {MAX_VALUES:,} values: its aliases (*name, <<) repeat each other")
        return loader.construct_document(node)
    except (yaml.YAMLError, ValueError, TypeError, ArithmeticError) as error:
        raise UserError(f"{what} is not YAML: {' '.join(str(error).split())[:400]}") from error
    except RecursionError as error:
        raise UserError(f"{what} is nested too deeply, or holds an alias of itself") from error


def _values(node: yaml.Node, counted: dict[int, int]) -> int:
    """How many values a node stands for, each alias counted as what it names. Raises `RecursionError` where one names itself."""
    if isinstance(node, yaml.ScalarNode):
        return 1
    if id(node) not in counted:
        inner = [one for pair in node.value for one in pair] if isinstance(node, yaml.MappingNode) else node.value
        counted[id(node)] = 1 + sum(_values(one, counted) for one in inner)
    return counted[id(node)]
