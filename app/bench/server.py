"""The real page server with one endpoint more: a bare insert, to compare a vote with. No arena serves it otherwise."""

import sys
import uuid

from fastapi import FastAPI
from sqlalchemy import Column, MetaData, String, Table, Uuid, insert
from starlette.responses import Response

from app.cli import serve
from app.main import create_app as create_product
from app.web.deps import NowDep, WriteDep

BARE = "/bench/insert"
rows = Table("bench_row", MetaData(), Column("id", Uuid(), primary_key=True), Column("at", String(40)))


def create_app() -> FastAPI:
    """The application of the product, middleware and all, and the bare insert in the same session scope."""
    app = create_product()

    @app.post(BARE)
    def bare(session: WriteDep, now: NowDep) -> Response:
        """One row."""
        session.execute(insert(rows).values(id=uuid.uuid4(), at=now.isoformat()))
        return Response(status_code=204)

    return app


if __name__ == "__main__":
    serve.run(host="127.0.0.1", port=int(sys.argv[1]), factory="app.bench.server:create_app")
