"""A person's Matrix client (matrix-nio), driven by JSON lines.

Each line on standard input is a request, {"id": 1, "do": "join", "with": {...}}; each is answered by one line on
standard output, {"id": 1, "ok": ...} or {"id": 1, "error": "..."}. The client syncs from its login on and ends with
its standard input. Message texts and passwords never reach standard error.
"""

import asyncio
import json
import logging
import sys

from nio import AsyncClient, ErrorResponse
from nio.events.invite_events import InviteMemberEvent, InviteNameEvent

# What the first sync brings of each room, so that nothing is missed that was said before the login.
FIRST_SYNC = {"room": {"timeline": {"limit": 200}}}
SYNC_TIMEOUT_MS = 30_000


class Refused(Exception):
    """The homeserver said no, or what was waited for did not come."""


def checked(response):
    if isinstance(response, ErrorResponse):
        raise Refused(f"{response.status_code or ''} {response.message}".strip())
    return response


def plain(source, room_id):
    """An event as it is handed out."""
    return {
        "event_id": source.get("event_id", ""),
        "room_id": room_id,
        "sender": source.get("sender", ""),
        "type": source.get("type", ""),
        "state_key": source.get("state_key"),
        "content": source.get("content", {}),
    }


class Person:
    def __init__(self):
        self.client = None
        self.syncing = None
        self.invites = {}
        self.timeline = {}
        self.changed = asyncio.Condition()

    async def log_in(self, homeserver, user_id, password):
        self.client = AsyncClient(homeserver, user_id)
        checked(await self.client.login(password, device_name="testbed"))
        await self.sync(FIRST_SYNC, timeout=0)
        self.syncing = asyncio.create_task(self.keep_syncing())
        return self.client.user_id

    async def keep_syncing(self):
        while True:
            try:
                await self.sync(None, timeout=SYNC_TIMEOUT_MS)
            except Exception as error:  # the homeserver may be stopped for a while
                print("sync failed, trying again:", type(error).__name__, file=sys.stderr, flush=True)
                await asyncio.sleep(0.5)

    async def sync(self, sync_filter, timeout):
        response = checked(await self.client.sync(timeout=timeout, sync_filter=sync_filter))
        async with self.changed:
            for room_id, room in response.rooms.invite.items():
                self.take_invite(room_id, room.invite_state)
            for room_id, room in response.rooms.join.items():
                self.invites.pop(room_id, None)
                self.timeline.setdefault(room_id, []).extend(
                    plain(event.source, room_id) for event in room.timeline.events
                )
            for room_id in response.rooms.leave:
                self.invites.pop(room_id, None)
            self.changed.notify_all()

    def take_invite(self, room_id, state):
        invite = self.invites.setdefault(
            room_id, {"room_id": room_id, "name": None, "inviter": "", "content": {}}
        )
        for event in state:
            if isinstance(event, InviteNameEvent):
                invite["name"] = event.name
            elif isinstance(event, InviteMemberEvent) and event.state_key == self.client.user_id:
                invite["inviter"] = event.sender
                invite["content"] = event.content

    async def until(self, look, seconds, missing):
        """Looks after each sync until there is something, for at most so many seconds."""
        async def looking():
            async with self.changed:
                while (found := look()) is None:
                    await self.changed.wait()
                return found

        try:
            return await asyncio.wait_for(looking(), seconds)
        except asyncio.TimeoutError:
            raise Refused(f"{missing()} within {seconds:g} s") from None

    async def wait_for_invite(self, room_id, seconds):
        def look():
            if room_id is not None:
                return self.invites.get(room_id)
            return next(iter(self.invites.values()), None)

        return await self.until(look, seconds, lambda: "no such invitation came")

    async def wait_for_invites(self, count, seconds):
        def look():
            return list(self.invites.values()) if len(self.invites) >= count else None

        return await self.until(
            look, seconds, lambda: f"only {len(self.invites)} of {count} invitations came"
        )

    async def wait_for_messages(self, room_id, sender, body, count, seconds):
        def matching():
            return [
                event
                for event in self.timeline.get(room_id, [])
                if event["type"] == "m.room.message"
                and sender in (None, event["sender"])
                and body in (None, event["content"].get("body"))
            ]

        def look():
            found = matching()
            return found if len(found) >= count else None

        return await self.until(
            look, seconds, lambda: f"only {len(matching())} of {count} messages came"
        )

    async def create_room(self, name, invite):
        response = checked(await self.client.room_create(name=name, invite=invite))
        return response.room_id

    async def invite(self, room_id, user_id):
        checked(await self.client.room_invite(room_id, user_id))

    async def join(self, room_id):
        return checked(await self.client.join(room_id)).room_id

    async def leave(self, room_id):
        checked(await self.client.room_leave(room_id))

    async def send(self, room_id, kind, content):
        return checked(await self.client.room_send(room_id, kind, content)).event_id

    async def set_state(self, room_id, kind, key, content):
        return checked(await self.client.room_put_state(room_id, kind, content, key)).event_id

    async def joined_rooms(self):
        return checked(await self.client.joined_rooms()).rooms

    async def state(self, room_id, kind):
        response = checked(await self.client.room_get_state(room_id))
        return [plain(event, room_id) for event in response.events if kind in (None, event["type"])]

    async def messages(self, room_id, limit):
        response = checked(await self.client.room_messages(room_id, limit=limit))
        return [plain(event.source, room_id) for event in reversed(response.chunk)]

    async def answer(self, request):
        try:
            act = getattr(self, request["do"])
            return {"id": request["id"], "ok": await act(**request["with"])}
        except Refused as error:
            return {"id": request["id"], "error": str(error)}
        except Exception as error:
            # Not its text, which may quote a message.
            return {"id": request["id"], "error": f"the client failed: {type(error).__name__}"}

    async def close(self):
        if self.syncing:
            self.syncing.cancel()
        if self.client:
            await self.client.close()


async def main():
    logging.basicConfig(level=logging.CRITICAL)
    reader = asyncio.StreamReader(limit=2**20)
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), sys.stdin
    )
    person = Person()
    while line := await reader.readline():
        print(json.dumps(await person.answer(json.loads(line))), flush=True)
    await person.close()


asyncio.run(main())
