"""The rpcs of items."""

# ruff: noqa: N802 - rpcs have the names of their proto

from __future__ import annotations

from collections.abc import AsyncIterator
from functools import partial
from typing import Any

from trunkline.recommender.v1 import items_pb2 as pb

from services.kit.errors import invalid
from services.kit.paging import page_of
from services.recommender.entities import Item
from services.recommender.limits import check_id, check_ids
from services.recommender.messages.items import item_message, items
from services.recommender.service.domain import Rpcs, off_loop


class ItemRpcs(Rpcs):
    """Items: written, read, listed, hidden, deleted."""

    async def UpsertItems(self, request: pb.UpsertItemsRequest, _context: Any) -> pb.UpsertItemsResponse:
        """Write items."""
        written = await off_loop(request, lambda: items(request.items, self._clock()))
        created = self._unknown(written)
        await self._store.catalogue.upsert(written)
        return pb.UpsertItemsResponse(written=len(written), created=created)

    async def ImportItems(
        self, requests: AsyncIterator[pb.ImportItemsRequest], _context: Any
    ) -> pb.ImportItemsResponse:
        """Write a stream of items."""
        answer = pb.ImportItemsResponse()
        async for request in requests:
            written = await off_loop(request, partial(items, request.items, self._clock(), low=0))
            answer.created += self._unknown(written)
            if written:
                await self._store.catalogue.upsert(written)
            answer.written += len(written)
        return answer

    async def GetItem(self, request: pb.GetItemRequest, _context: Any) -> pb.GetItemResponse:
        """Return an item."""
        found = self._store.catalogue.get(check_id("item_id", request.item_id))
        return pb.GetItemResponse(item=item_message(found))

    async def ListItems(self, request: pb.ListItemsRequest, _context: Any) -> pb.ListItemsResponse:
        """List items."""
        catalogue = self._store.catalogue
        place = page_of(request.page_size, request.page_token)
        listed, token = place.cut(
            catalogue.list(after=place.after, limit=place.limit), key=lambda each: each.item_id
        )
        return pb.ListItemsResponse(items=map(item_message, listed), next_page_token=token)

    async def DeleteItems(self, request: pb.DeleteItemsRequest, _context: Any) -> pb.DeleteItemsResponse:
        """Delete items."""
        deleted = await self._store.catalogue.delete(check_ids("item_ids", request.item_ids))
        return pb.DeleteItemsResponse(deleted=deleted)

    async def HideItems(self, request: pb.HideItemsRequest, _context: Any) -> pb.HideItemsResponse:
        """Hide items, or show them."""
        if not request.HasField("hidden"):
            raise invalid("hidden", "must be true or false")
        item_ids = check_ids("item_ids", request.item_ids)
        changed = await self._store.catalogue.hide(item_ids, hidden=request.hidden)
        return pb.HideItemsResponse(changed=changed)

    def _unknown(self, written: list[Item]) -> int:
        return sum(each.item_id not in self._store.catalogue for each in written)
