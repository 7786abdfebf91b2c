"""What the command line does with a recommender: one of its own, imports of files, lists, the tour's step."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from trunkline.recommender.v1.recommender_pb2_grpc import RecommenderServiceStub
from trunkline.recommender.v1.status_pb2 import GetStatusRequest

from gateway.commands.suggestions import LIKED, suggest
from services.kit.command import CommandError
from services.recommender.commands.importing import files, write
from services.recommender.commands.operating import train
from services.recommender.commands.own import own_recommender

FILMS = {**LIKED, **{str(number): f"Film {number}" for number in range(200, 220)}}


def lines(path: Path, messages: list[dict[str, object]]) -> Path:
    path.write_text("".join(json.dumps(each) + "\n" for each in messages))
    return path


@pytest.fixture(scope="module")
def channel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[grpc.Channel]:
    """A recommender of its own, with files of films, users and events imported."""
    folder = tmp_path_factory.mktemp("files")
    names = list(FILMS)
    items = [{"itemId": each, "text": FILMS[each], "categories": ["film"]} for each in names]
    events = [
        {
            "eventId": f"{user}-{item}",
            "eventType": "rating",
            "itemId": item,
            "userId": f"u{user}",
            "value": 4,
        }
        for user in range(20)
        for place, item in enumerate(names)
        if (place + user) % 3
    ]
    source = files(
        lines(folder / "items.jsonl", items),
        lines(folder / "users.jsonl", [{"userId": "u0", "tags": ["first"]}]),
        lines(folder / "events.jsonl", events),
    )
    with own_recommender() as channel:
        imported = write(channel, source)
        assert (imported.items, imported.users, imported.events) == (len(FILMS), 1, len(events))
        yield channel


def test_an_import_again_changes_nothing(channel: grpc.Channel, tmp_path: Path):
    event = {"eventId": "0-172", "eventType": "rating", "itemId": "172", "userId": "u0"}
    again = write(channel, files(None, None, lines(tmp_path / "events.jsonl", [event])))
    assert (again.events, again.duplicates) == (0, 1)


def test_a_line_that_is_no_message_is_named(channel: grpc.Channel, tmp_path: Path):
    path = lines(tmp_path / "items.jsonl", [{"itemId": "a"}, {"colour": "blue"}])
    with pytest.raises(CommandError, match="line 2"):
        list(files(path, None, None).items)


def test_the_tour_shows_a_list_that_an_event_changes_and_leaves_nobody_behind(channel: grpc.Channel):
    train(channel, ["ease", "content"])
    users = RecommenderServiceStub(channel).GetStatus(GetStatusRequest()).users
    seen = suggest(channel, channel)
    assert seen is not None
    assert seen.before
    assert seen.before[0].item_id not in [each.item_id for each in seen.after]
    assert RecommenderServiceStub(channel).GetStatus(GetStatusRequest()).users == users


def test_without_a_mesh_the_commands_say_how_to_start_one():
    command = [sys.executable, "-m", "gateway.cli", "recommender", "status", "--json"]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env={"TRUNKLINE_ADDRESS": "127.0.0.1:1"}
    )
    assert done.returncode == 1
    assert "No mesh answers" in done.stderr
