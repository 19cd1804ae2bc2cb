"""YAML read without trust: no tags, no key twice, and no more values than a person writes."""

from __future__ import annotations

from typing import Any

import yaml
from yaml.nodes import CollectionNode, MappingNode, Node, ScalarNode

DEEPEST = 40
"""Levels of nesting, more than any file of ours has."""
MOST_VALUES = 100_000
"""Values with every anchor followed: ten lines can stand for a billion."""
_MERGE = "tag:yaml.org,2002:merge"


class _Loader(yaml.SafeLoader):
    """Plain YAML: what PyYAML would take silently, or take long over, is an error with its line."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._depth = 0

    def compose_node(self, parent: Node | None, index: Any) -> Node | None:
        event: Any = self.peek_event()
        if getattr(event, "tag", None) is not None:
            raise _error(f"has the tag {event.tag}; leave it out", event)
        self._depth += 1
        if self._depth > DEEPEST:
            raise _error(f"nested more than {DEEPEST} deep", event)
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node

    def compose_mapping_node(self, anchor: Any) -> MappingNode:
        node: Any = super().compose_mapping_node(anchor)
        seen: set[tuple[str, str]] = set()
        for key, _ in node.value:
            if isinstance(key, ScalarNode) and key.tag != _MERGE:
                if (key.tag, key.value) in seen:
                    raise _error(f"key {key.value!r} stands twice", key)
                seen.add((key.tag, key.value))
        return node


def load(text: str) -> Any:
    """The value that `text` stands for.

    Raises:
        yaml.YAMLError: it is not YAML, or more than plain YAML of a size that a person writes.
    """
    loader = _Loader(text)
    try:
        node = loader.get_single_node()
        if node is None:
            return None
        _weigh(node, {})
        return loader.construct_document(node)
    except ValueError as error:  # such as a date in a thirteenth month, or a number of ten thousand digits
        raise yaml.YAMLError(str(error)) from None
    finally:
        loader.dispose()


def _weigh(node: Any, known: dict[int, int | None]) -> int:
    """How many values a node stands for; `known` remembers, and holds None for those around this one."""
    if id(node) not in known:
        known[id(node)] = None
        parts = node.value if isinstance(node, CollectionNode) else ()
        inner = [part for pair in parts for part in pair] if isinstance(node, MappingNode) else parts
        known[id(node)] = 1 + sum(_weigh(part, known) for part in inner)
    weight = known[id(node)]
    if weight is None:
        raise _error("an anchor that holds itself", node)
    if weight > MOST_VALUES:
        raise _error(f"more than {MOST_VALUES} values, with every anchor followed", node)
    return weight


def _error(what: str, at: Any) -> yaml.YAMLError:
    return yaml.MarkedYAMLError(problem=what, problem_mark=at.start_mark)
