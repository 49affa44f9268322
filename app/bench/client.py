"""A browser as cheap as can be: one kept connection, a cookie, no library that would be measured along."""

import asyncio
from dataclasses import dataclass, field

_LARGEST = 4_000_000


@dataclass
class Browser:
    """One rater's connection to the server. Lost ones raise ``OSError`` or ``EOFError`` and are opened anew."""

    port: int
    cookie: str
    _reader: asyncio.StreamReader | None = field(default=None, init=False)
    _writer: asyncio.StreamWriter | None = field(default=None, init=False)

    async def get(self, path: str) -> tuple[int, bytes]:
        """Status and body."""
        return await self._send(f"GET {path} HTTP/1.1\r\n", b"")

    async def post(self, path: str, form: str = "") -> tuple[int, bytes]:
        """The same after sending a form."""
        body = form.encode()
        kind = "Content-Type: application/x-www-form-urlencoded\r\nSec-Fetch-Site: same-origin\r\n"
        return await self._send(f"POST {path} HTTP/1.1\r\n{kind}Content-Length: {len(body)}\r\n", body)

    async def close(self) -> None:
        """Let the connection go."""
        if self._writer is not None:
            self._writer.close()
            self._reader = self._writer = None

    async def _send(self, head: str, body: bytes) -> tuple[int, bytes]:
        if self._reader is not None and self._reader.at_eof():  # silent for too long, so the server closed it
            await self.close()
        try:
            if self._reader is None or self._writer is None:
                self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self.port, limit=_LARGEST)
            rest = f"Host: 127.0.0.1:{self.port}\r\nCookie: {self.cookie}\r\n\r\n"
            self._writer.write((head + rest).encode() + body)
            return await _answer(self._reader)
        except (OSError, EOFError):
            await self.close()
            raise


async def _answer(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:] if line)}
    body = b""
    if headers.get("transfer-encoding") == "chunked":
        while size := int(await reader.readuntil(b"\r\n"), 16):
            body += (await reader.readexactly(size + 2))[:-2]
        await reader.readuntil(b"\r\n")
    else:
        body = await reader.readexactly(int(headers.get("content-length", "0")))
    return int(head[0].split()[1]), body
