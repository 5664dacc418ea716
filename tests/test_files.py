"""JSON that every reader takes: no NaN, and dataclasses as objects."""

import json
import math
from dataclasses import dataclass
from pathlib import Path

from synthctx_data.files import write_json


@dataclass
class Point:
    x: float
    name: str


def test_numbers_that_json_has_not_become_null(tmp_path: Path) -> None:
    value = {"a": [math.nan, -math.inf, 1.5, 2], 3: Point(math.nan, "p"), "t": (True, None)}
    write_json(tmp_path / "x.json", value)

    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    read = json.loads((tmp_path / "x.json").read_text(), parse_constant=refuse)
    assert read == {"a": [None, None, 1.5, 2], "3": {"x": None, "name": "p"}, "t": [True, None]}
