"""``arena serve``: the web page alone, for machines and containers where workers run elsewhere."""

import uvicorn

from app.cli.address import remember
from app.cli.prepare import prepare
from app.setup.state import SetupPhase, SetupState, write_state

_GRACE_SECONDS = 2
"""An open event stream would hold the exit otherwise."""


def run(*, host: str, port: int, factory: str = "app.main:create_app") -> None:
    """Serve until stopped. Nothing is installed and no worker is started."""
    settings = prepare()
    settings.secret_key()  # made now, so that workers beside us find it
    remember(settings, host or settings.host, port or settings.port)
    write_state(settings.home, SetupState(state=SetupPhase.READY, message="Workers train and generate elsewhere."))
    uvicorn.run(
        factory,
        factory=True,
        host=host or settings.host,
        port=port or settings.port,
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=_GRACE_SECONDS,
    )
