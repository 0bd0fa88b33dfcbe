"""Uploaded data sets, in the database. `app.datasets` has their images."""

from collections.abc import Collection, Sequence

from sqlalchemy import delete, or_, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from app.database.database import Database
from app.database.tables import Dataset, Job


class DatasetStore:
    """The data sets in a database. Every call raises NotReady if the database cannot be used."""

    def __init__(self, database: Database) -> None:
        self.database = database

    def add(self, row: Dataset) -> bool:
        """Store a new data set, and return False if another one has its name or its id."""
        try:
            self.database.write(lambda session: session.add(row))
        except IntegrityError:
            return False
        return True

    def find(self, reference: str) -> Dataset | None:
        """Return the data set with this id or this name, or None."""
        if "\0" in reference:  # PostgreSQL's driver refuses such a parameter
            return None
        query = select(Dataset).where(or_(Dataset.id == reference, Dataset.name == reference))
        with self.database.read() as session:
            return session.scalar(query.where(Dataset.name.is_not(None)))

    def all(self) -> Sequence[Dataset]:
        """List the data sets, oldest first."""
        query = select(Dataset).where(Dataset.name.is_not(None)).order_by(Dataset.number)
        with self.database.read() as session:
            return session.scalars(query).all()

    def ids(self) -> set[str]:
        """List the ids of all data sets, also of those that are being deleted."""
        with self.database.read() as session:
            return {*session.scalars(select(Dataset.id))}

    def begin_deletion(self, dataset_id: str) -> str | None:
        """Take the name of a data set away, unless an unfinished job uses it.

        Returns the id of that job, or None.
        """

        def work(session: Session) -> str | None:
            unfinished = select(Job.id, Job.hyperparameters).where(Job.finished_at.is_(None))
            for job_id, values in session.execute(unfinished):
                if dataset_id in (*values.get("datasets", ()), values.get("test_dataset")):
                    return str(job_id)
            session.execute(update(Dataset).where(Dataset.id == dataset_id).values(name=None))
            return None

        return self.database.write_exclusively(work)

    def being_deleted(self) -> Sequence[str]:
        """List the ids of the data sets whose deletion has begun."""
        with self.database.read() as session:
            return session.scalars(select(Dataset.id).where(Dataset.name.is_(None))).all()

    def remove(self, dataset_id: str) -> None:
        """Delete the row of a data set."""
        deletion = delete(Dataset).where(Dataset.id == dataset_id)
        self.database.write(lambda session: session.execute(deletion))


def missing_ids(session: Session, dataset_ids: Collection[str]) -> set[str]:
    """Return those of the ids that no data set has, or one that is being deleted."""
    found = select(Dataset.id).where(Dataset.id.in_(dataset_ids), Dataset.name.is_not(None))
    return {*dataset_ids} - {*session.scalars(found)}
