"""Many browsers at once: nobody may be left waiting for a thread that somebody else waits with."""

import asyncio

import httpx
from fastapi import FastAPI
from fastapi.testclient import TestClient

from tests.factories import Study

BROWSERS = 100  # well above the 40 threads that routes run in
DEADLINE = 60.0


def test_a_hundred_pages_that_write_are_all_answered(app: FastAPI, admin: TestClient, study: Study) -> None:
    async def ask_together() -> list[int]:
        transport = httpx.ASGITransport(app)
        cookies = dict(admin.cookies)
        async with httpx.AsyncClient(transport=transport, base_url="http://testserver", cookies=cookies) as client:
            address = f"/vote/{study.batch.id}"
            asked = [client.get(address) for _ in range(BROWSERS)]
            return [answer.status_code for answer in await asyncio.wait_for(asyncio.gather(*asked), DEADLINE)]

    assert asyncio.run(ask_together()) == [200] * BROWSERS
