"""YAML with line numbers, so that an error can point at the line of a key."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import yaml

# What PyYAML lets out beside its own errors: !!int '', 2001-99-99, a number of 5000 digits,
# brackets a thousand deep.
_FOREIGN_ERRORS = (ValueError, LookupError, TypeError, AttributeError, RecursionError)
# What merge keys (<<) may unfold to: a few lines of them grow to more than any memory holds.
_MAX_MERGED = 10_000
_MERGE_TAG = "tag:yaml.org,2002:merge"


class InvalidYaml(ValueError):
    """A text that is no YAML, with the line where there is one."""

    def __init__(self, problem: str, line: int | None) -> None:
        super().__init__(problem)
        self.line = line


@dataclass(frozen=True)
class RepeatedKey:
    """A key that stands twice in one mapping; YAML's readers take the last one silently."""

    key: str
    first: int
    again: int

    def __str__(self) -> str:
        return f"{self.key} stands there twice, in lines {self.first} and {self.again}"


def parse_yaml(text: str) -> tuple[object, yaml.Node | None]:
    """The values of a YAML text (safe: no objects) and its tree, for `line_of`.

    Raises:
        InvalidYaml: It cannot be parsed, or merge keys (<<) make it grow without bounds.
    """
    try:
        tree = yaml.compose(text, Loader=yaml.SafeLoader)
        _bound_merge_keys(tree)
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
    """Keys that stand twice in one mapping, at any depth, in the order of the text."""
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


def _bound_merge_keys(tree: yaml.Node | None) -> None:
    sizes: dict[int, int] = {}
    for node in _nodes(tree):
        _merged_size(node, sizes, set())


def _merged_size(node: yaml.Node, sizes: dict[int, int], around: set[int]) -> int:
    """How many pairs a mapping has after its merge keys were followed.

    Raises:
        InvalidYaml: More than any file of ours needs, or without end.
    """
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
                raise InvalidYaml("a merge key (<<) leads back to itself", line)
            parts = value.value if isinstance(value, yaml.SequenceNode) else [value]
            size += sum(_merged_size(part, sizes, around | {id(node)}) for part in parts)
            if size > _MAX_MERGED:
                raise InvalidYaml(f"merge keys (<<) unfold to more than {_MAX_MERGED} keys", line)
        sizes[id(node)] = size
    return sizes[id(node)]


def line_of(tree: yaml.Node | None, keys: Sequence[object]) -> int | None:
    """The 1-based line of a nested key, or None where it is absent."""
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
