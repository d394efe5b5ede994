"""YAML with line numbers, so that an error can point at the line of a key."""

from collections.abc import Sequence

import yaml


class NoYaml(ValueError):
    """A text that is no YAML, with the line where there is one."""

    def __init__(self, problem: str, line: int | None) -> None:
        super().__init__(problem)
        self.line = line


def parse(text: str) -> tuple[object, yaml.Node | None]:
    """The values of a YAML text (safe: no objects) and its tree, for `line_of`.

    Raises:
        NoYaml: It cannot be parsed.
    """
    try:
        return yaml.safe_load(text), yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        problem = getattr(error, "problem", None) or error
        raise NoYaml(str(problem), mark.line + 1 if mark else None) from error


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
