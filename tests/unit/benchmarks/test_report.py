"""What a benchmark ends with."""

import json

from benchmarks.figures import Goal
from benchmarks.report import last_line, table


def test_the_last_line_is_one_line_of_results_and_ratios():
    line = last_line({"a": 1}, [Goal("fast", 3.0, 2.0), Goal("soon", 500.0, 400.0, most=True)])
    assert "\n" not in line
    assert json.loads(line) == {"results": {"a": 1}, "ratios": {"fast": 1.5, "soon": 0.8}}


def test_a_table_has_a_line_a_row():
    assert table(["a", "b"], [["1", "2"]]).splitlines() == ["| a | b |", "| --- | --- |", "| 1 | 2 |"]
