"""What metrics would have earned as sentences, and what to run next."""

from collections.abc import Callable

from pipeline.core.labels import counted
from pipeline.reporting.text.formatting import ABSENT, percent, percent_trimmed
from pipeline.results.past_tests import PastTests
from pipeline.results.proxies import DecidingTest, LaunchAdvice, LaunchRule, RuleKind
from pipeline.results.slopes import Interval

FEW_TESTS = 10
"""Below this number the page says that it is a first indication."""

Words = Callable[[str], str]
"""The name of a metric or KPI as text."""


def share(value: float | None) -> str:
    """A share of the best possible in whole percent."""
    return ABSENT if value is None else percent(value, 0)


def share_interval(ends: Interval | None) -> str:
    """The interval of a share."""
    return ABSENT if ends is None else f"{share(ends[0])} to {share(ends[1])}"


def rule_name(rule: LaunchRule, advice: LaunchAdvice, words: Words) -> str:
    """What a rule chooses by."""
    if rule.kind is RuleKind.PORTFOLIO:
        return "the portfolio"
    if rule.kind is RuleKind.KPI:
        return f"{words(advice.kpi)} itself"
    name = words(rule.metric or "")
    if not rule.lower:
        return name
    if rule.lower == advice.tests:
        return f"the lower {name}"
    return f"{name} (the lower value in {rule.lower} of {counted(advice.tests, 'test')}, as the others say)"


def launch_sentences(found: PastTests, one: LaunchAdvice, best: str, words: Words) -> list[str]:
    """What launching by the best metric would have earned, and what would decide between tied ones."""
    if one.undefined_reason:
        return []
    level = percent_trimmed(found.level)
    rule = next(rule for rule in one.rules if rule.metric == best)
    itself = next(rule for rule in one.rules if rule.kind is RuleKind.KPI)
    fewest, most = rule.right_interval
    by = "the variant with" if rule.lower == one.tests else "by"
    chosen = (
        f"Launching {by} {rule_name(rule, one, words)} would have chosen the right variant in {rule.right} "
        f"of {counted(one.tests, 'test')} "
        f"({level} interval {fewest} to {most})"
    )
    worth = (
        "; whether there was anything to win is not known."
        if rule.share is None
        else f", worth {share(rule.share)} of the best possible ({share_interval(rule.share_interval)}); by the "
        f"measured {words(one.kpi)} itself, {share(itself.share)}."
    )
    sentences = [chosen + worth]
    sentences += [deciding_sentence(planned, words) for planned in one.deciding_tests[:1]]
    return sentences


def few_tests_sentence(tests: int) -> str:
    """That a finding on few tests is preliminary; nothing where they are not few."""
    if tests >= FEW_TESTS:
        return ""
    return (
        f"{counted(tests, 'test')} {'is' if tests == 1 else 'are'} few: this is a first indication, and the "
        "next tests may change it."
    )


def deciding_sentence(planned: DecidingTest, words: Words) -> str:
    """The next experiment."""
    best, rival = words(planned.best), words(planned.rival)
    return (
        f"To decide between {best} and {rival}, run {planned.variants} variants that change {best} by "
        f"±{planned.change:.3g} and leave {rival} as it is (in past tests their changes correlate at "
        f"{planned.correlation:.2f}), each with {planned.size:.2g} times the users of the median past test: they "
        f"decide with {percent(planned.power, 0)} probability if the KPI follows {best}."
    )


def duplicate_sentences(found: PastTests) -> list[str]:
    """Tests that may be in the table twice."""
    if not found.duplicates:
        return []
    first, second = found.duplicates[0]
    more = (
        f", and {counted(len(found.duplicates) - 1, 'more pair')}"
        if len(found.duplicates) > 1
        else ""
    )
    text = (
        f"{first} and {second} have the same numbers{more}: if they are one test, delete one; every "
        "interval is too short otherwise."
    )
    return [text]
