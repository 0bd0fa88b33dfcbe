"""Schema comparison: how the tables of a database differ from the expected ones.

It compares only what the code relies on. Databases choose their own indexes, foreign keys and sizes
of types, and the operator may add tables, and columns that need no value. Alembic's comparison
serves to write migrations: it reports each of these, and does not compare families of types.
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
    LargeBinary,
    MetaData,
    String,
    Table,
    UniqueConstraint,
    inspect,
)
from sqlalchemy.types import TypeDecorator, TypeEngine

FAMILIES: Final = (Boolean, Integer, DateTime, JSON, String, LargeBinary)


def differences(
    connection: Connection, expected: MetaData, *, allow_missing: bool = False
) -> list[str]:
    """Return the differences that would break this code; `allow_missing` ignores missing tables."""
    inspector = inspect(connection)
    mismatches: list[str] = []
    names = set(inspector.get_table_names())
    for table in expected.sorted_tables:
        if table.name in names:
            mismatches += [
                f"{table.name}{difference}" for difference in _table_differences(inspector, table)
            ]
        elif not allow_missing:
            mismatches.append(f"{table.name} is missing")
    return mismatches


def _table_differences(inspector: Inspector, table: Table) -> Iterator[str]:
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
        needs_default = column is table.autoincrement_column and inspector.dialect.name != "sqlite"
        if needs_default and not _is_filled(actual):  # SQLite numbers rows itself
            yield f".{column.name} has no default"
    for name, column in columns.items():
        if not (column["nullable"] or _is_filled(column)):
            yield f".{name} needs a value and has no default"
    yield from _key_differences(inspector, table)


def _key_differences(inspector: Inspector, table: Table) -> Iterator[str]:
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
    for extra in actual - expected:
        if not any(key <= extra for key in expected):  # otherwise the constraint adds nothing
            yield f" is unique by ({', '.join(sorted(extra))})"


def _unique(table: Table) -> set[frozenset[str]]:
    """Return the sets of columns that are unique in a table, by key, constraint or index."""
    keys = [table.primary_key.columns]
    for constraint in table.constraints:
        if isinstance(constraint, UniqueConstraint):
            keys.append(constraint.columns)
    indexes = (index.columns for index in table.indexes if index.unique)
    return {frozenset(columns.keys()) for columns in (*keys, *indexes)}


def _is_filled(column: Any) -> bool:
    """Return whether the database fills a column for which an INSERT has no value."""
    return column["default"] is not None or bool(column.get("identity") or column.get("computed"))


def _family(kind: TypeEngine[Any]) -> type[TypeEngine[Any]]:
    plain = kind.impl_instance if isinstance(kind, TypeDecorator) else kind
    return next((family for family in FAMILIES if isinstance(plain, family)), type(plain))
