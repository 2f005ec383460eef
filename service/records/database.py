"""The database behind the records: SQLite in WAL by default, PostgreSQL by its URL; migrated when it is opened."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from sqlalchemy import Engine, create_engine, event
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError
from sqlalchemy.orm import Session

from service.refusals import Refusal
from service.security.encryption import EncryptionError, Keys, dump_json, load_json

_BUSY_S = 20
RECORDS_UNAVAILABLE = "records_unavailable"
"""The code of the Refusal where a database is away, full or cannot be read."""
MIGRATIONS = Path(__file__).parent / "migrations"


class RecordsError(RuntimeError):
    """Records that cannot be opened; one line."""


def open_database(url: str, *, keys: Keys | None = None) -> Engine:
    """Return an engine whose tables are those of this code; raises RecordsError.

    SQLite's folder is made where it is missing. A commit is on disk when it returns. With keys, JSON columns are
    written encrypted; what was written before stays readable.
    """
    json_of: dict[str, Any] = {"json_deserializer": partial(load_json, keys)}
    if keys is not None:
        json_of["json_serializer"] = partial(dump_json, keys)
    try:
        parsed = make_url(url)
        if parsed.drivername == "postgresql":
            parsed = parsed.set(drivername="postgresql+psycopg")
        if parsed.get_backend_name() == "sqlite" and parsed.database:
            Path(parsed.database).parent.mkdir(parents=True, exist_ok=True)
            engine = create_engine(parsed, connect_args={"timeout": _BUSY_S}, **json_of)
            event.listen(engine, "connect", _prepare_sqlite)
        else:
            engine = create_engine(
                parsed, pool_pre_ping=True, connect_args={"connect_timeout": 5, "client_encoding": "utf8"}, **json_of
            )
        migrate(engine)
    except (ArgumentError, SQLAlchemyError, OSError, ImportError) as error:
        raise RecordsError(f"the records cannot be opened: {type(error).__name__}, check system.database") from error
    return engine


def migrate(engine: Engine) -> None:
    """Bring the tables to this code's revision."""
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


def _prepare_sqlite(connection: sqlite3.Connection, _: Any) -> None:
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", f"busy_timeout={_BUSY_S * 1000}"):
        connection.execute(f"PRAGMA {pragma}")


@contextmanager
def transaction(engine: Engine) -> Iterator[Session]:
    """Give a session that is committed at its end, or not at all; raises Refusal 503 where the records fail."""
    try:
        with Session(engine) as session, session.begin():
            yield session
    except (SQLAlchemyError, EncryptionError) as error:
        raise Refusal(
            503, RECORDS_UNAVAILABLE, f"the records cannot be written or read ({type(error).__name__})",
            "nothing was accepted; send it again later", 5.0,
        ) from error  # fmt: skip
