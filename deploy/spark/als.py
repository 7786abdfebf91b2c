"""Trains MLlib's ALS on the interactions that a recommender exports, and publishes the items' factors to it.

    spark-submit deploy/spark/als.py --address 127.0.0.1:8081 --version spark-1 --promote

For more events than one machine's memory holds. Only the items' factors go back: users are folded in by their
events when they ask, so Spark is never on the way of an answer. Needs PySpark and trunkline's base install.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import grpc
import numpy as np
from pyspark.ml.recommendation import ALS
from pyspark.sql import DataFrame, SparkSession
from trunkline.recommender.v1 import models_pb2 as pb
from trunkline.recommender.v1.recommender_pb2_grpc import RecommenderServiceStub

ITEMS_A_MESSAGE = 1_000
LINES_A_FILE = 1_000_000


@dataclass(frozen=True)
class Options:
    """What the command line says."""

    address: str
    version: str
    folder: str
    rank: int
    iterations: int
    regularisation: float
    alpha: float
    promote: bool


def main() -> None:
    """Export, train, publish."""
    options = parse()
    with (
        tempfile.TemporaryDirectory(dir=options.folder or None) as folder,
        grpc.insecure_channel(options.address) as channel,
    ):
        stub = RecommenderServiceStub(channel)
        lines = export(stub, Path(folder))
        print(f"{lines:,} interactions exported")
        spark = SparkSession.builder.appName("trunkline-als").getOrCreate()
        try:
            answer = stub.PublishModel(published(spark, folder, options))
        finally:
            spark.stop()
    print(json.dumps({"version": answer.version.version, "items": answer.version.items}))


def export(stub: RecommenderServiceStub, folder: Path) -> int:
    """Write all interactions into `folder` as JSON lines, a file a million, and return how many there are."""
    count, file = 0, None
    for batch in stub.ExportInteractions(pb.ExportInteractionsRequest()):
        for user, item, weight in zip(batch.user_ids, batch.item_ids, batch.weights, strict=True):
            if weight <= 0:  # dislike has no place in a confidence
                continue
            if file is None or count % LINES_A_FILE == 0:
                if file is not None:
                    file.close()
                file = (folder / f"{count // LINES_A_FILE:06}.json").open("w", encoding="utf-8")
            print(json.dumps({"user": user, "item": item, "weight": weight}), file=file)
            count += 1
    if file is None:
        raise SystemExit("The recommender has no interactions to train from.")
    file.close()
    return count


def published(spark: SparkSession, folder: str, options: Options) -> Iterator[pb.PublishModelRequest]:
    """Train, and yield the messages of PublishModel."""
    interactions = spark.read.json(folder, schema="user string, item string, weight float")
    users, items = numbered(spark, interactions, "user"), numbered(spark, interactions, "item")
    numbers = (
        interactions.join(users, "user").join(items, "item").select("user_number", "item_number", "weight")
    )
    als = ALS(
        rank=options.rank,
        maxIter=options.iterations,
        regParam=options.regularisation,
        alpha=options.alpha,
        implicitPrefs=True,
        userCol="user_number",
        itemCol="item_number",
        ratingCol="weight",
        seed=1,
    )
    model = als.fit(numbers)
    parameters = folding(options, interactions.count() / users.count(), items.count())
    about = pb.PublishedModel(
        version=options.version,
        origin="spark-als",
        dimensions=options.rank,
        parameters=parameters,
        promote=options.promote,
    )
    yield pb.PublishModelRequest(model=about)
    named = model.itemFactors.join(items, model.itemFactors.id == items.item_number).select(
        "item", "features"
    )
    yield from factors(named)


def folding(options: Options, events_a_user: float, items: int) -> dict[str, float]:
    """Return the recommender's alpha and regularisation that fold a user in as MLlib's ALS would.

    MLlib weighs an observed entry r by 1 + a r and all others by 1, and adds l n |x|² for a user of n events;
    divided by a: r for the observed, 1/a for all, and l n / a. The recommender adds m (n + |I| / a) |x|²,
    which is the same for a user of the mean number of events.
    """
    alpha = 1 / options.alpha
    scale = events_a_user / (events_a_user + alpha * items)
    return {"alpha": alpha, "regularisation": options.regularisation * alpha * scale}


def numbered(spark: SparkSession, interactions: DataFrame, column: str) -> DataFrame:
    """Return each id of a column with a number, as MLlib wants them: whole, below 2³¹."""
    distinct = interactions.select(column).distinct().rdd.map(lambda row: row[0]).zipWithIndex()
    return spark.createDataFrame(distinct, f"{column} string, {column}_number int").cache()


def factors(named: DataFrame) -> Iterator[pb.PublishModelRequest]:
    """Yield the items' factors, a partition of them in memory at a time."""
    ids: list[str] = []
    rows: list[list[float]] = []
    for each in named.toLocalIterator():
        ids.append(each.item)
        rows.append(each.features)
        if len(ids) == ITEMS_A_MESSAGE:
            yield message(ids, rows)
            ids, rows = [], []
    if ids:
        yield message(ids, rows)


def message(ids: list[str], rows: list[list[float]]) -> pb.PublishModelRequest:
    """Return the message with some items' factors."""
    values = np.asarray(rows, "<f4").tobytes()
    return pb.PublishModelRequest(factors=pb.ItemFactors(item_ids=ids, factors=values))


def parse() -> Options:
    """Return what the command line says."""
    plain = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=plain)
    parser.add_argument("--address", default="127.0.0.1:8081", help="the operators' address")
    parser.add_argument("--version", required=True, help="the name of the version to publish")
    parser.add_argument(
        "--folder", default="", help="where the export is written: a folder all executors see"
    )
    parser.add_argument("--rank", type=int, default=64)
    parser.add_argument("--iterations", type=int, default=10)
    parser.add_argument("--regularisation", type=float, default=0.1, help="MLlib's regParam")
    parser.add_argument("--alpha", type=float, default=10.0, help="MLlib's alpha")
    parser.add_argument("--promote", action="store_true", help="serve the version as soon as it is there")
    return Options(**vars(parser.parse_args()))


if __name__ == "__main__":
    main()
