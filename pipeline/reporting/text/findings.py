"""What ``paretoscope fit`` prints of its findings."""

from pipeline.reporting.text.advice import advice_sentence
from pipeline.reporting.text.confounding import direction_sentence
from pipeline.reporting.text.lifts import lift_sentence
from pipeline.reporting.text.partial import partial_sentences
from pipeline.reporting.text.read_as import read_as_sentences
from pipeline.reporting.text.reasons import evidence_words, limitation_sentences
from pipeline.reporting.text.summary import answer_sentence, exploratory_sentence
from pipeline.results.findings import Findings


def findings_lines(found: Findings) -> list[str]:
    """How the table was read, the answers, and what the table cannot say; one line each."""
    answers = [
        f"{answer_sentence(one, found.cutoff)} Strength of evidence: "
        f"{evidence_words(found.evidence[one.id], one.verdict)}"
        for one in found.hypotheses
    ]
    if not answers:
        answers = [exploratory_sentence(one, found.cutoff) for one in found.metric_ranking]
    answers += [lift_sentence(one, found.level) for one in found.lifts]
    answers += [direction_sentence(one, found.cutoff) for one in found.shared_directions]
    answers += partial_sentences(found.hypotheses, found.cutoff)
    answers += [advice_sentence(one) for one in found.advice]
    return [
        *read_as_sentences(found.read_as),
        *answers,
        *limitation_sentences(found.limitations),
    ]
