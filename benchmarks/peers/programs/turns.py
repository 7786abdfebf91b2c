"""What the programs here share: a job a line on standard input, its answer a line on standard output.

These files run in the peers' environments, which have nothing of Trunkline's.
"""

import json
import os
import sys
from collections.abc import Callable
from typing import Any


def serve(work: Callable[..., Any]) -> None:
    """Say that all is loaded, then answer each line's keyword arguments with what `work` returns."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # libraries print what they like
    tell(answers, "ready")
    for line in sys.stdin:
        tell(answers, work(**json.loads(line)))


def tell(answers: Any, what: Any) -> None:
    """Write one line, told from what libraries have printed before by its only key."""
    answers.write(json.dumps({"answer": what}) + "\n")
    answers.flush()
