"""Parses YAML with line numbers, so that an error can name the line of a key."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import yaml

# What PyYAML raises besides its own errors: for !!int '', 2001-99-99, a number of 5000 digits, a
# thousand nested brackets.
_FOREIGN_ERRORS = (ValueError, LookupError, TypeError, AttributeError, RecursionError)
# Limit for merge keys (<<): a few lines of them could expand beyond all memory.
_MAX_MERGED = 10_000
_MERGE_TAG = "tag:yaml.org,2002:merge"


class InvalidYaml(ValueError):
    """A text that is not YAML, with the line if known."""

    def __init__(self, problem: str, line: int | None) -> None:
        super().__init__(problem)
        self.line = line


@dataclass(frozen=True)
class RepeatedKey:
    """A key that occurs twice in one mapping; YAML parsers silently use the last one."""

    key: str
    first: int
    again: int

    def __str__(self) -> str:
        return f"{self.key} occurs twice, in lines {self.first} and {self.again}"


def parse_yaml(text: str) -> tuple[object, yaml.Node | None]:
    """Return the values of a YAML text (safe: no objects), and its tree for `line_of`.

    Raises:
        InvalidYaml: It cannot be parsed, or merge keys (<<) expand without limit.
    """
    try:
        tree = yaml.compose(text, Loader=yaml.SafeLoader)
        sizes: dict[int, int] = {}
        for node in _nodes(tree):
            _merged_size(node, sizes, set())
        return yaml.safe_load(text), tree
    except InvalidYaml:
        raise
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        problem = getattr(error, "problem", None) or error
        raise InvalidYaml(str(problem), mark.line + 1 if mark else None) from error
    except _FOREIGN_ERRORS as error:
        raise InvalidYaml(f"{type(error).__name__}: {error}", None) from error


def repeated_keys(tree: yaml.Node | None) -> Iterator[RepeatedKey]:
    """Find keys that occur twice in one mapping, at any depth, in the order of the text."""
    found: list[RepeatedKey] = []
    for node in _nodes(tree):
        first: dict[tuple[str, str], int] = {}
        for key, _ in node.value if isinstance(node, yaml.MappingNode) else ():
            if not isinstance(key, yaml.ScalarNode) or key.tag == _MERGE_TAG:
                continue
            line, same = key.start_mark.line + 1, (key.tag, key.value)
            if same in first:
                found.append(RepeatedKey(key.value, first[same], line))
            first.setdefault(same, line)
    yield from sorted(found, key=lambda one: one.again)


def _nodes(tree: yaml.Node | None) -> Iterator[yaml.Node]:
    """Every mapping and every list of a tree, each once."""
    seen: set[int] = set()
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        if id(node) in seen or not isinstance(node, yaml.MappingNode | yaml.SequenceNode):
            continue
        seen.add(id(node))
        yield node
        for child in node.value:
            waiting += child if isinstance(child, tuple) else (child,)


def _merged_size(node: yaml.Node, sizes: dict[int, int], around: set[int]) -> int:
    """Number of pairs of a mapping after its merge keys were expanded."""
    if not isinstance(node, yaml.MappingNode):
        return 0
    if id(node) not in sizes:
        size = 0
        for key, value in node.value:
            if key.tag != _MERGE_TAG:
                size += 1
                continue
            line = key.start_mark.line + 1
            if id(node) in around:
                raise InvalidYaml("a merge key (<<) refers to itself", line)
            parts = value.value if isinstance(value, yaml.SequenceNode) else [value]
            size += sum(_merged_size(part, sizes, around | {id(node)}) for part in parts)
            if size > _MAX_MERGED:
                raise InvalidYaml(f"merge keys (<<) expand to more than {_MAX_MERGED} keys", line)
        sizes[id(node)] = size
    return sizes[id(node)]


def line_of(tree: yaml.Node | None, keys: Sequence[object]) -> int | None:
    """Return the line of a nested key, from 1; None if the key is absent."""
    line, node = None, tree
    for key in keys:
        if isinstance(node, yaml.MappingNode):
            found = [(k, v) for k, v in node.value if k.value == str(key)]
            if not found:
                return None
            line, node = found[0][0].start_mark.line + 1, found[0][1]
        elif isinstance(node, yaml.SequenceNode) and isinstance(key, int) and key < len(node.value):
            node = node.value[key]
            line = node.start_mark.line + 1
        else:
            return None
    return line
