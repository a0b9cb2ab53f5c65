"""The field's words, one for each thing: those we gave up must not come back."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PRODUCT = ("models", "pipeline", "assets", "paretoscope", "docs", "README.md", "CONTRIBUTING.md")
SUFFIXES = {".py", ".md", ".j2", ".html", ".js", ".css", ".yaml"}
SKIPPED = {"_build", "reference", "measured"}
"""Folders of the docs that are generated."""

OLD_WORDS = {
    r"exposures?\b": "impression",
    r"\banew\b": "again",
    r"\bforet(ell|old)\w*": "predict, forecast",
    r"\bmend(s|ed|ing)?\b": "fix",
    r"\bset(s|ting)? aside\b": "reject (rows), exclude (users)",
    r"\b(taken|takes?|taking) in\b": "ingest",
    r"\bstraddl\w*": "boundary sessions, cross",
    r"\b(told|tells?|telling)\b(?!( \w+)* apart\b)": "the log contains; says; distinguish",
    r"\bjudg(e|es|ed|ement|ing)\b": "validate, decide",
    r"\bgoes with\b": "is associated with",
    r"\bwhole numbers?\b": "integer",
    r"(?<!here )\bis no (?!longer\b)\w+": "is not a valid …",
    r"\bmust be given\b": "required",
    r"\d %": "95%, without a space",
    r"\bper cent\b": "percent, %",
    r"\b(clicks|lists|requests|events|rows|orders|users|answers) an? "
    r"(second|minute|hour|day|user|group|list|session)\b": "per",
    r"\b(row|line|entry) an? \w+\b": "one row per …",
    r"\bshoppers?\b": "user",
    r"\bcorners?\b": "endpoint",
    r"\b(un)?packed\b": "compressed",
    r"\bown[ _](metric|objective)s?\b": "custom metric, custom objective",
    r"\bof one's own\b": "custom",
    r"\breleased (tables?|results?)\b": "reference results",
    r"\blooked through\b": "exploratory",
    r"\bwhat else changes\b": "trade-offs",
    r"\bchance of 80\b": "80% power",
    r"\bbends?\b": "non-linear",
    r"\boff the line\b": "lack of fit",
    r"\bholds 0\b": "includes 0",
    r"\bdivided (as planned|anew)\b": "sample ratio; A/A re-randomisation",
    r"\balike before\b": "pre-experiment balance",
    r"\bnot looked at\b": "not run",
    r"\bpictures?\b": "figure",
    r"\bin words\b": "summary",
    r"\brehears\w+": "dry run",
    r"\bplanted faults?\b": "injected faults",
    r"\b(lies?|lay) (in|beside|there|where)\b": "is in, is stored with",
    r"\bbeside\b": "next to, stored with, and",
    r"\bnot shown\b": "inconclusive",
    r"\bfragile\b": "suggestive",
    r"\ball days at once\b": "anytime-valid",
    r"\b(few|fewness of)[ -]groups? interval\b": "small-sample (Hartung–Knapp) CI",
    r"\bchances? (to be|of being) (the )?best\b": "probability of being best",
    r"\bwould settle\b|\bto[ _]settle\b": "required sample size",
    r"\bsale[ _]rate\b|\bsales per\b": "orders per impression",
    r"\bconversion of clicks\b": "post-click conversion rate",
    r"\bunit of randomisation\b": "randomisation unit",
    r"\bmade of\b": "derived from, parameters",
    r"\bto be had\b": "available",
    r"\bcame of (it|them)\b": "outcome",
    r"\bpeople\b": "users",
    r"\btesters?\b": "forced assignment",
    r"\berror_in_x\b": "measurement_error",
    r"\btrials_to_settle\b": "required_trials",
    r"\bfew_groups\b": "small_sample",
    r"\bnot_fitted\b": "unfitted_pairs",
    r"\bundefined_because\b": "undefined_reason",
    r"\b(before|daily|returning)_sums\b": "pre_period_sums, daily_totals, returning_user_totals",
    r"\bis_yes_or_no\b|\byes-or-no\b": "binary",
    r"\bslow twin\b": "reference implementation",
    r"\b(people|person) saw\b": "user saw",
}
"""What must not be written, and what is written instead."""

ALLOWED: dict[str, tuple[str, ...]] = {
    "docs/explanation/your-word-our-word.md": ("exposure: a user enters",),  # GrowthBook's word
    "docs/inference.md": ("other platforms",),  # a column that is read
    "pipeline/inference/counts/columns.py": ("SYNONYMS",),  # the same
}
"""Lines of these files may hold the old word after all: a file, and words of the line."""


def lines():
    for name in PRODUCT:
        place = ROOT / name
        files = [place] if place.is_file() else sorted(place.rglob("*"))
        for file in files:
            inside = file.relative_to(ROOT)
            if file.suffix in SUFFIXES and not SKIPPED & set(inside.parts):
                for number, line in enumerate(file.read_text("utf-8").splitlines(), start=1):
                    yield inside.as_posix(), number, line


LINES = list(lines())


@pytest.mark.parametrize("pattern", OLD_WORDS)
def test_an_old_word_does_not_come_back(pattern):
    old = re.compile(pattern, re.IGNORECASE)

    found = [
        f"{file}:{number}: {line.strip()}"
        for file, number, line in LINES
        if old.search(line) and not any(words in line for words in ALLOWED.get(file, ()))
    ]

    assert found == [], f"write instead: {OLD_WORDS[pattern]}"
