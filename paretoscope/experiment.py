"""The experiment of a study: its plan, its log and its report."""

from pathlib import Path
from tempfile import TemporaryDirectory

from paretoscope.results import Fit, Ingestion, Plan, Report
from paretoscope.study import Study
from pipeline.artifacts.storage import REPORT
from pipeline.core.errors import DataError
from pipeline.core.local_paths import local_path
from pipeline.reporting.report import build_counts_report, write_new_report
from pipeline.results.document import Report as ReportDocument
from pipeline.results.reader import REPORT_FILE, read_report


def plan(study: Study) -> Plan:
    """Choose the test groups of a study, and compute the power they have.

    The step ``traffic_plan`` of the study; it replaces the plan.

    Raises:
        MissingArtifact: if the Pareto front, the metrics or the model are missing.
        LogError: if an experiment with a log of your own is running, and the plan would change it.

    Examples:
        >>> ps.plan(ps.open_study()).to_frame()["group"].to_list()
        ['g1', 'g2', 'g3']
    """
    return Plan(study.run_step("traffic_plan"))


def ingest(study: Study) -> Ingestion:
    """Bring the experiment's database up to date with the log's files.

    The step ``experiment_log`` of the study; a file is read once.

    Raises:
        MissingArtifact: if there is no traffic plan.
        LogError: if a file is unreadable or breaks the contract, or no row is usable.
        QualityError: if the database breaks a blocking rule; it then stays as it was.

    Examples:
        >>> result = ps.ingest(ps.open_study())
        >>> result.to_dict()["files_read"]
        0
    """
    return Ingestion(study.run_step("experiment_log"))


def report(source: Study | Fit, folder: str | Path | None = None) -> Report:
    """Write the report of a study, or of a fit.

    Args:
        source: A study, whose report goes into its own folder; or the result of
            :func:`paretoscope.fit`.
        folder: Where the report of a fit goes; replaces an older report. The table of a frame is
            cited by the md5 of the file that ``frame.write_csv("counts.csv")`` writes.

    Raises:
        MissingArtifact: if an artifact of the study is missing.
        DataError: if the folder is missing, has other files, or cannot be written.

    Examples:
        >>> report = ps.report(ps.open_study())
        >>> report.page.name
        'index.html'
    """
    if isinstance(source, Study):
        step = source.run_step("regression_report")
        return Report(step.value, step.location / "index.html")
    if not isinstance(source, Fit):  # pyright: ignore[reportUnnecessaryIsInstance] - of a user
        msg = (
            f"{type(source).__name__} has no report; expected a study of ps.open_study or the result "
            "of ps.fit"
        )
        raise DataError(msg)
    if folder is None:
        msg = "the report of a fit needs a folder: ps.report(fit, 'my-report')"
        raise DataError(msg)
    with TemporaryDirectory(prefix="paretoscope-") as temporary:
        counts = source.source
        if not isinstance(counts, Path):
            counts.write_csv(file := Path(temporary) / "counts.csv")
            counts = file
        document = build_counts_report(source.document, counts)
    return Report(document, write_new_report(document, local_path(folder, "folder")))


def read_report_of(study: Study) -> Report:
    """The report of a finished study."""
    file = study.paths.require(REPORT, REPORT_FILE)
    document: ReportDocument = read_report(file)
    return Report(document, file.with_name("index.html"))
