from pathlib import Path

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.config import DATA
from app.models import Account, BaseModel, Dataset, Job, Prompt, Suite, Table
from app.services.shipped import import_shipped
from tests.factories import NOW, RULES, write_rows
from tests.fixtures import on_sqlite


def everything(session: Session) -> dict[str, int]:
    return {
        table.name: session.scalar(select(func.count()).select_from(table)) or 0
        for table in Table.metadata.sorted_tables
    }


def test_everything_that_ships_is_there_and_the_second_time_changes_nothing(session: Session, tmp_path: Path) -> None:
    for _ in range(2):
        import_shipped(session, data=DATA, artifacts=tmp_path, base_model="smollm2-135m", secret=RULES.secret, now=NOW)
        session.flush()
        counted = everything(session)
        assert {name: counted[name] for name in ("suite", "dataset", "base_model", "account", "job")} == {
            "suite": 5, "dataset": 1, "base_model": 1, "account": 1, "job": 1,
        }  # fmt: skip
    assert session.scalar(select(func.count(Prompt.id))) == 85 + 24 + 8
    assert set(session.scalars(select(Suite.version))) == {1}
    dataset = session.scalars(select(Dataset)).one()
    assert (dataset.name, dataset.path != dataset.validation_path) == ("brie", True)


@on_sqlite
def test_another_base_model_is_not_pushed_aside(session: Session, tmp_path: Path) -> None:
    data = tmp_path / "data"
    write_rows(data / "sft/brie.train.jsonl", [{"text": "a"}, {"text": "b"}])
    import_shipped(session, data=data, artifacts=tmp_path, base_model="", secret=RULES.secret, now=NOW)
    assert session.scalar(select(func.count(BaseModel.id))) == 0
    import_shipped(session, data=data, artifacts=tmp_path, base_model="owner/first", secret=RULES.secret, now=NOW)
    import_shipped(session, data=data, artifacts=tmp_path, base_model="owner/second", secret=RULES.secret, now=NOW)
    assert session.scalars(select(BaseModel.name)).all() == ["owner--first"]
    assert session.scalar(select(func.count(Job.id))) == 1
    assert session.scalar(select(func.count(Account.id))) == 1
