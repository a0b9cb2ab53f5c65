"""``paretoscope fit``: hypotheses on a table of group counts."""

from pathlib import Path

from pipeline.cli.context import print_result
from pipeline.inference.counts.columns import CountsOptions
from pipeline.inference.hypotheses.from_counts import fit_counts, parse_hypothesis
from pipeline.reporting.text.advice import advice_sentence
from pipeline.reporting.text.confounding import direction_sentence
from pipeline.reporting.text.lifts import lift_sentence
from pipeline.reporting.text.partial import partial_sentences
from pipeline.reporting.text.read_as import read_as_sentences
from pipeline.reporting.text.reasons import evidence_words, limitation_sentences
from pipeline.reporting.text.summary import answer_sentence, exploratory_sentence
from pipeline.results.document import Findings
from pipeline.results.serialization import to_dict
from pipeline.study import AdviceConfig, XReference


def fit(  # noqa: PLR0913 - the options of the command
    *,
    counts: Path,
    json: bool,
    report: Path | None,
    level: float,
    hypothesis: list[str],
    control: str | None,
    margin: float | None,
    metric: list[str],
    one_trial_per_user: bool,
    error_correlation: float,
    x_reference: str,
    **columns: str | None,
) -> int:
    """Fit hypotheses to a table of group counts."""
    declared = [parse_hypothesis(text, number) for number, text in enumerate(hypothesis, start=1)]
    advice = AdviceConfig(control=control, margin=margin)
    options = CountsOptions(
        columns={ours: theirs for ours, theirs in columns.items() if theirs},
        metrics=tuple(metric),
        one_trial_per_user=one_trial_per_user,
        error_correlation=error_correlation,
    )
    found = fit_counts(
        counts,
        declared,
        level=level,
        seed=0,
        advice=advice,
        options=options,
        x_reference=XReference(x_reference),
    )
    limitations = limitation_sentences(found.limitations)
    page = _page(found, counts, report) if report else None
    answers = [
        f"{answer_sentence(one, found.cutoff)} Strength of evidence: "
        f"{evidence_words(found.evidence[one.id], one.verdict)}"
        for one in found.hypotheses
    ]
    if not answers:
        answers = [exploratory_sentence(one, found.cutoff) for one in found.metric_ranking]
    answers += [lift_sentence(one, level) for one in found.lifts]
    answers += [direction_sentence(one, found.cutoff) for one in found.shared_directions]
    answers += partial_sentences(found.hypotheses, found.cutoff)
    answers += [advice_sentence(one) for one in found.advice]
    read_as = read_as_sentences(found.read_as)
    written = [f"report: {page}"] if page else []
    return print_result(to_dict(found), [*read_as, *answers, *limitations, *written], json=json)


def _page(found: Findings, counts: Path, folder: Path) -> Path:
    from pipeline.reporting.report import build_counts_report, write_new_report  # noqa: PLC0415 - matplotlib takes a second

    return write_new_report(build_counts_report(found, counts), folder)
