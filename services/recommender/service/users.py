"""The rpcs of users."""

# ruff: noqa: N802 - rpcs have the names of their proto

from __future__ import annotations

from collections.abc import AsyncIterator
from functools import partial
from typing import Any

from trunkline.recommender.v1 import users_pb2 as pb

from services.kit.paging import page_of
from services.recommender.limits import check_id
from services.recommender.messages.events import event_message
from services.recommender.messages.users import receipt_message, user_message, users
from services.recommender.service.domain import Rpcs, off_loop


class UserRpcs(Rpcs):
    """Users: written, read, listed, exported, erased."""

    async def UpsertUsers(self, request: pb.UpsertUsersRequest, _context: Any) -> pb.UpsertUsersResponse:
        """Write users."""
        written = await off_loop(request, lambda: users(request.users))
        await self._store.users.upsert(written)
        return pb.UpsertUsersResponse(written=len(written))

    async def ImportUsers(
        self, requests: AsyncIterator[pb.ImportUsersRequest], _context: Any
    ) -> pb.ImportUsersResponse:
        """Write a stream of users."""
        answer = pb.ImportUsersResponse()
        async for request in requests:
            written = await off_loop(request, partial(users, request.users, low=0))
            if written:
                await self._store.users.upsert(written)
            answer.written += len(written)
        return answer

    async def GetUser(self, request: pb.GetUserRequest, _context: Any) -> pb.GetUserResponse:
        """Return a user."""
        found = await self._store.users.get(check_id("user_id", request.user_id))
        return pb.GetUserResponse(user=user_message(found))

    async def ListUsers(self, request: pb.ListUsersRequest, _context: Any) -> pb.ListUsersResponse:
        """List users."""
        place = page_of(request.page_size, request.page_token)
        found = await self._store.users.list(after=place.after, limit=place.limit)
        listed, token = place.cut(found, key=lambda each: each.user_id)
        return pb.ListUsersResponse(users=map(user_message, listed), next_page_token=token)

    async def EraseUser(self, request: pb.EraseUserRequest, _context: Any) -> pb.EraseUserResponse:
        """Erase a user."""
        user_id = check_id("user_id", request.user_id)
        receipt = await self._store.users.erase(user_id)
        return receipt_message(user_id, receipt, self._clock())

    async def ExportUser(
        self, request: pb.ExportUserRequest, _context: Any
    ) -> AsyncIterator[pb.ExportUserResponse]:
        """Export all that is stored of a user."""
        async for part in self._store.users.export(check_id("user_id", request.user_id)):
            if part.user is not None:
                yield pb.ExportUserResponse(user=user_message(part.user))
            if part.events:
                yield pb.ExportUserResponse(events=pb.Events(events=map(event_message, part.events)))
