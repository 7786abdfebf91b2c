"""`python -m benchmarks.peers [NAME…]` (`make bench-peers`): builds the peers that are not there yet.

Each is an environment of its own under `$XDG_CACHE_HOME/trunkline/peers`. One that cannot be built here is
recorded with the reason; benchmarks say so and go on without it.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from functools import partial

from benchmarks.peers import environments, llama_cpp, models, places
from benchmarks.peers.environments import BuildError
from benchmarks.peers.recipes import RECIPES

STEPS: dict[str, tuple[str, Callable[[], None]]] = {
    llama_cpp.NAME: (f"{llama_cpp.SOURCE} {llama_cpp.BARRIER} {llama_cpp.OPTIONS}", llama_cpp.build),
    **{each.name: (repr(each), partial(environments.build, each)) for each in RECIPES},
    **{each.name: (repr(each), partial(models.make, each)) for each in models.MODELS},
}


def main(names: list[str]) -> int:
    """Build the named peers, or all; returns how many could not be."""
    failures = [name for name in names or STEPS if not _stands(name)]
    for name in failures:
        print(f"{name} cannot be measured here: {places.why_not(name)}")
    return len(failures)


def _stands(name: str) -> bool:
    recipe, build = STEPS[name]
    if places.built(name, recipe):
        return True
    print(f"{name}: building …", flush=True)
    began = time.monotonic()
    try:
        build()
    except BuildError as error:
        places.record(name, failure=str(error))
        return False
    places.record(name, recipe=recipe)
    print(f"{name}: built in {time.monotonic() - began:.0f} s", flush=True)
    return True


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
