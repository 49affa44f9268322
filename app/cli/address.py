"""Where the page of this arena is, for the links that commands print."""

from app.config import Settings

_EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 (compared, not bound)


def address(host: str, port: int) -> str:
    """The page's address as seen from this machine."""
    reached = _EVERYWHERE.get(host, host)
    return f"http://[{reached}]:{port}" if ":" in reached else f"http://{reached}:{port}"


def remember(settings: Settings, host: str, port: int) -> None:
    """Keep where `arena up` listens, for the commands typed next to it."""
    (settings.home / "address").write_text(address(host, port), encoding="utf-8")


def last_known(settings: Settings) -> str:
    """Where `arena up` listened last, or would by the settings."""
    try:
        return (settings.home / "address").read_text(encoding="utf-8")
    except OSError:
        return address(settings.host, settings.port)
