"""`python tests/unit/recommender/ranx_values.py` writes ranx_values.json, in an environment that has ranx.

ranx brings numba and a compiler's worth of dependencies, so its answers are kept and not itself.
"""

from __future__ import annotations

import json
from importlib.metadata import version
from pathlib import Path

import numpy as np
import ranx

SEED = 11
NAMES = {
    "ndcg@10": "ndcg@10",
    "recall@10": "recall@10",
    "precision@10": "precision@10",
    "map@10": "map@10",
    "mrr@10": "mrr@10",
    "hit_rate@10": "hit_rate@10",
}


def main() -> None:
    random = np.random.default_rng(SEED)
    lists = np.stack([random.permutation(30)[:10] for _ in range(20)])
    wanted = random.random((20, 30)) < 0.2
    wanted[:, 0] = True
    qrels = {f"u{u:02}": {f"i{i}": 1 for i in np.flatnonzero(row)} for u, row in enumerate(wanted)}
    runs = {
        f"u{u:02}": {f"i{i}": 1 - place / 100 for place, i in enumerate(row)} for u, row in enumerate(lists)
    }
    run = ranx.Run(runs)
    ranx.evaluate(ranx.Qrels(qrels), run, list(NAMES))
    values = {name: [run.scores[name][user] for user in sorted(qrels)] for name in NAMES}
    document = {"ranx": version("ranx"), "seed": SEED, "metrics": values}
    Path(__file__).with_suffix(".json").write_text(json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    main()
