"""YAML with line numbers, so that an error can point at the line of a key."""

from collections.abc import Sequence

import yaml

# What PyYAML lets out beside its own errors: !!int '', 2001-99-99, a number of 5000 digits,
# brackets a thousand deep.
_FOREIGN_ERRORS = (ValueError, LookupError, TypeError, AttributeError, RecursionError)


class NoYaml(ValueError):
    """A text that is no YAML, with the line where there is one."""

    def __init__(self, problem: str, line: int | None) -> None:
        super().__init__(problem)
        self.line = line


def parse(text: str, *, merge_keys: bool = True) -> tuple[object, yaml.Node | None]:
    """The values of a YAML text (safe: no objects) and its tree, for `line_of`.

    Args:
        text: The text.
        merge_keys: Whether `<<` is allowed. In a foreign text it is not: a few lines of it grow to
            more than any memory holds.

    Raises:
        NoYaml: It cannot be parsed.
    """
    try:
        tree = yaml.compose(text, Loader=yaml.SafeLoader)
        if not merge_keys:
            _refuse_merge_keys(tree)
        return yaml.safe_load(text), tree
    except NoYaml:
        raise
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        problem = getattr(error, "problem", None) or error
        raise NoYaml(str(problem), mark.line + 1 if mark else None) from error
    except _FOREIGN_ERRORS as error:
        raise NoYaml(f"{type(error).__name__}: {error}", None) from error


def _refuse_merge_keys(tree: yaml.Node | None) -> None:
    seen: set[int] = set()
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        if id(node) in seen or not isinstance(node, yaml.MappingNode | yaml.SequenceNode):
            continue
        seen.add(id(node))
        for child in node.value:
            pair = child if isinstance(child, tuple) else (child,)
            if len(pair) == 2 and pair[0].tag == "tag:yaml.org,2002:merge":
                raise NoYaml("merge keys (<<) are not read here", pair[0].start_mark.line + 1)
            waiting += pair


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
