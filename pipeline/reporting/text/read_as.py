"""Sentences on how a table of counts was read."""

from collections.abc import Sequence

from pipeline.core.table_file import ReadAs, ReadNote

_PHRASES = {
    ReadAs.ENCODING: "The file is read as {value}.",
    ReadAs.SEPARATOR: "The separator is the {value}.",
    ReadAs.EMPTY_ROWS: "Rows without any value: {value}, not read.",
    ReadAs.UNNAMED_COLUMN: "Columns without a name: {value}, not read.",
    ReadAs.DECIMAL_MARK: "The decimal mark is the comma.",
    ReadAs.THOUSANDS_MARK: "{value!r} separates thousands in {columns}.",
    ReadAs.PERCENT: "Percent: {columns} divided by 100.",
    ReadAs.NAME: "{columns} is read as {value}.",
    ReadAs.ONE_TRIAL_PER_USER: "Each user has one impression, so impressions are independent.",
    ReadAs.METRIC_ERRORS: "Errors of metrics ({value}): {columns}.",
    ReadAs.STRINGS_IGNORED: "Columns of strings, not read: {columns}.",
    ReadAs.KPI_IGNORED: (
        "Not metrics, because they are KPIs, which are computed from the counts: {columns}."
    ),
    ReadAs.DUPLICATE_IGNORED: "Not read, because another column has this count: {columns}.",
    ReadAs.UNCERTAINTY_IGNORED: (
        "Not metrics, because they describe one: {columns}. If it is a standard error, rename it to "
        "METRIC_se."
    ),
    ReadAs.UNSELECTED_IGNORED: "Not selected as metrics: {columns}.",
    ReadAs.SHARE_OF_USERS: "A user counts at most once in {columns}: shares of the users.",
    ReadAs.INDEPENDENT_TRIALS: (
        "Without standard errors (such as ctr_se), the trials of {columns} count as independent; CIs are "
        "too narrow if users have several."
    ),
}


def read_as_sentences(notes: Sequence[ReadNote]) -> list[str]:
    """How a table was read, one sentence per thing that was not taken as it is."""
    return [
        _PHRASES[one.kind].format(value=one.value, columns=", ".join(one.columns)) for one in notes
    ]
