"""Small settings that the service itself changes, such as a policy of retraining: JSON by name."""

from __future__ import annotations

import json
from typing import Any

from sqlalchemy import Connection, delete, insert, select

from services.recommender.store.database import Database
from services.recommender.store.schema import documents


class Documents:
    """Named JSON values, durable when written."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def get(self, name: str) -> Any:
        """Return the value, None where there is none."""
        body = await self._database.reading(
            lambda connection: connection.scalar(select(documents.c.body).where(documents.c.name == name))
        )
        return None if body is None else json.loads(body)

    async def put(self, name: str, value: Any) -> None:
        """Write the value, in place of what was there."""
        body = json.dumps(value)

        def work(connection: Connection) -> None:
            connection.execute(delete(documents).where(documents.c.name == name))
            connection.execute(insert(documents), {"name": name, "body": body})

        await self._database.writing(work)
