"""How the tables in a database differ from those that are expected there.

What enters: a connection, and the expected tables. What leaves: the differences, in words. Only
what the code relies on is compared: a database has indexes, foreign keys and sizes of types of its
own choice, and an operator's tables, and columns that need no value, stand beside without harm.
Alembic's own comparison serves to write migrations: it finds each of these, and no family of types.
"""

from collections.abc import Iterator
from typing import Any, Final

from sqlalchemy import (
    JSON,
    Boolean,
    Connection,
    DateTime,
    Inspector,
    Integer,
    MetaData,
    String,
    Table,
    UniqueConstraint,
    inspect,
)
from sqlalchemy.types import TypeDecorator, TypeEngine

FAMILIES: Final = (Boolean, Integer, DateTime, JSON, String)


def differences(connection: Connection, expected: MetaData, *, partly: bool = False) -> list[str]:
    """Return what the code would stumble over; with `partly`, tables may be missing."""
    inspector = inspect(connection)
    mismatches: list[str] = []
    names = set(inspector.get_table_names())
    for table in expected.sorted_tables:
        if table.name in names:
            mismatches += [
                f"{table.name}{difference}" for difference in _of_table(inspector, table)
            ]
        elif not partly:
            mismatches.append(f"{table.name} is missing")
    return mismatches


def _of_table(inspector: Inspector, table: Table) -> Iterator[str]:
    columns: dict[str, Any] = {
        column["name"]: column for column in inspector.get_columns(table.name)
    }
    for column in table.columns:
        actual = columns.pop(column.name, None)
        if actual is None:
            yield f".{column.name} is missing"
            continue
        if _family(actual["type"]) is not _family(column.type):
            yield f".{column.name} is {actual['type']}"
        if actual["nullable"] != column.nullable:
            yield f".{column.name} {'may' if actual['nullable'] else 'must not'} be NULL"
        numbers = column is table.autoincrement_column and inspector.dialect.name != "sqlite"
        if numbers and not _is_filled(actual):  # SQLite numbers rows itself
            yield f".{column.name} has no default"
    for name, column in columns.items():
        if not (column["nullable"] or _is_filled(column)):
            yield f".{name} needs a value and has no default"
    yield from _of_keys(inspector, table)


def _of_keys(inspector: Inspector, table: Table) -> Iterator[str]:
    primary = frozenset(inspector.get_pk_constraint(table.name)["constrained_columns"])
    actual = {
        primary,
        *(
            frozenset(constraint["column_names"])
            for constraint in inspector.get_unique_constraints(table.name)
        ),
        *(
            frozenset(name or "" for name in index["column_names"])
            for index in inspector.get_indexes(table.name)
            if index["unique"]
        ),
    }
    expected = _unique(table)
    if primary != frozenset(table.primary_key.columns.keys()):
        yield f" has the primary key ({', '.join(sorted(primary))})"
    for missing in expected - actual:
        yield f" is not unique by ({', '.join(sorted(missing))})"
    for more in actual - expected:
        if not any(key <= more for key in expected):  # else it forbids nothing more
            yield f" is unique by ({', '.join(sorted(more))})"


def _unique(table: Table) -> set[frozenset[str]]:
    """Return the sets of columns that are unique in a table, however that is declared."""
    keys = [table.primary_key.columns]
    for constraint in table.constraints:
        if isinstance(constraint, UniqueConstraint):
            keys.append(constraint.columns)
    indexes = (index.columns for index in table.indexes if index.unique)
    return {frozenset(columns.keys()) for columns in (*keys, *indexes)}


def _is_filled(column: Any) -> bool:
    """Return whether the database fills a column where no value is given."""
    return column["default"] is not None or bool(column.get("identity") or column.get("computed"))


def _family(kind: TypeEngine[Any]) -> type[TypeEngine[Any]]:
    plain = kind.impl_instance if isinstance(kind, TypeDecorator) else kind
    return next((family for family in FAMILIES if isinstance(plain, family)), type(plain))
