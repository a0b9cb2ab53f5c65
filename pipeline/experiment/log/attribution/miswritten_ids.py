"""Events without a touch whose user or item is in the log, but written in another way.

``U5``, ``u5 `` and ``005`` are not ``u5`` and ``5``. Where one export writes ids in capitals or a
spreadsheet strips zeros, no event finds its touch, as if nobody had clicked.
"""

from collections.abc import Collection, Mapping

import duckdb

from pipeline.experiment.log import reasons
from pipeline.experiment.log.log_files import LogTable

_PLAIN = "ltrim(lower(trim({column})), '0')"

_ANY = "SELECT 1 FROM attributed_{table} WHERE reason = '{unmatched}' LIMIT 1"

_USERS = """
UPDATE attributed_{table} SET reason = '{miswritten}', owner = known.user
FROM (SELECT {plain} AS plain, min(user) AS user FROM user_groups GROUP BY ALL) AS known
WHERE reason = '{unmatched}' AND {plain_of_event} = known.plain
    AND attributed_{table}.user NOT IN (SELECT user FROM user_groups)
"""

_ITEMS = """
UPDATE attributed_{table} SET reason = '{miswritten}'
FROM (SELECT {plain} AS plain FROM logged_{shown} GROUP BY ALL) AS known
WHERE reason = '{unmatched}' AND {plain_of_event} = known.plain
    AND user IN (SELECT user FROM user_groups)
    AND item NOT IN (SELECT item FROM logged_{shown} WHERE item IS NOT NULL)
"""

_EXAMPLE = """
INSERT INTO faulty_examples
SELECT source, '{miswritten}', source || ': user ' || user || coalesce(', item ' || item, '')
FROM attributed_{table} WHERE reason = '{miswritten}' ORDER BY source, user, item LIMIT 1
"""


def find_miswritten_ids(
    connection: duckdb.DuckDBPyConnection,
    table: LogTable,
    columns: Mapping[LogTable, Collection[str]],
) -> None:
    """Give such rows of ``attributed_clicks`` or ``attributed_orders`` a reason of their own.

    Args:
        connection: The database, after the attribution of these events.
        table: Clicks or orders.
        columns: Of the tables that have rows.
    """
    event, touch = ("click", "impression") if table is LogTable.CLICKS else ("order", "click")
    reason = {"miswritten": reasons.miswritten(event)}
    connection.execute("DELETE FROM faulty_examples WHERE reason = $miswritten", reason)
    names = reason | {"table": table.value, "unmatched": reasons.without_earlier(event, touch)}
    found = connection.execute(_ANY.format(**names)).fetchone()
    if not found:
        return
    connection.execute(_USERS.format(**names, **_plain(table, "user")))
    of_items = (LogTable.IMPRESSIONS, LogTable.CLICKS)
    shown = next((one for one in of_items if "item" in columns.get(one, ())), None)
    if shown is not None and "item" in columns[table]:
        connection.execute(_ITEMS.format(**names, shown=shown.value, **_plain(table, "item")))
    connection.execute(_EXAMPLE.format(**names))


def _plain(table: LogTable, column: str) -> dict[str, str]:
    return {
        "plain": _PLAIN.format(column=column),
        "plain_of_event": _PLAIN.format(column=f"attributed_{table}.{column}"),
    }
