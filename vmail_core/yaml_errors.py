"""What is wrong with a YAML file, in one line."""

from __future__ import annotations

import yaml


def in_one_line(error: yaml.YAMLError) -> str:
    """The problem and its line, without the quotation that PyYAML adds."""
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        return f"line {error.problem_mark.line + 1}: {error.problem}"
    return " ".join(str(error).split())
