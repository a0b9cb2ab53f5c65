"""The page: one table per log, and the verdict."""

import argparse
import json

from machine import described

from equal_search import front
from equal_search.front import Front
from equal_search.logs import SAMPLE, PeerLog
from equal_search.programs import OURS, PROGRAMS
from equal_search.search import Found, Mean

NEEDED = 3
"""Logs, of four, on which the click endpoint should be as good as the best peer."""


def page(
    found: dict[str, dict[str, Found]],
    logs: dict[str, PeerLog],
    fronts: dict[str, list[Front]],
    arguments: argparse.Namespace,
) -> str:
    """The Markdown of everything that was found."""
    lines = [
        "# Peers under equal search",
        "",
        f"`{command(arguments)}` on {described('torch', 'numpy', 'scipy')}; {versions(found)}.",
        "",
        (
            f"{arguments.seconds:.0f} processor seconds of training on one thread for every run of "
            f"every program ({arguments.sample_seconds:.0f} on the samples {' and '.join(SAMPLE)}), "
            "validations included; of a peer the best validated state of six is kept, of ours the "
            "best epoch. Four settings each, the first seed; the one with the best Recall@20 on "
            f"validation again under the other seeds; mean ± standard error over {arguments.seeds} "
            "seeds. Test targets: every click after a session's first, ranked exactly among the "
            "whole catalogue, ties at half; *repeats* are those that the session clicked before. "
            "Differences are in standard errors of the difference "
            "over seeds, which do not contain the choice of test sessions."
        ),
        "",
    ]
    for name, programs in found.items():
        lines += table(name, logs[name], programs)
    if found:
        lines += [*verdict(found), *grids(found), ""]
    if fronts:
        lines += front.table(fronts)
    return "\n".join(lines)


def command(arguments: argparse.Namespace) -> str:
    """The command without paths."""
    changed = f" --set {' '.join(arguments.set)}" if arguments.set else ""
    return (
        f"python benchmarks/peers.py … --parts {' '.join(arguments.parts)} --logs "
        f"{' '.join(arguments.logs)} --seconds "
        f"{arguments.seconds:g} --sample-seconds {arguments.sample_seconds:g}{changed} --write"
    )


def versions(found: dict[str, dict[str, Found]]) -> str:
    """Of the peers' environment."""
    for programs in found.values():
        for one in programs.values():
            if packages := one.results[0].details.get("versions"):
                return "peers: " + ", ".join(f"{name} {value}" for name, value in packages.items())
    return "no peer of another environment"


def table(name: str, log: PeerLog, programs: dict[str, Found]) -> list[str]:
    """The programs on one log, the best Recall@20 first."""
    second = "order" if log.has_orders else "distortion"
    ranked = sorted(programs.items(), key=lambda one: -one[1].recall().value)
    return [
        f"## {name}",
        "",
        f"{log.describe()}. Ours is conditioned on click and {second}.",
        "",
        (
            "| program | Recall@20 | MRR@20 | of repeats | of others | seconds of training | chosen "
            "| ours minus it, Recall@20 |"
        ),
        "|---|---|---|---|---|---|---|---|",
        *(row(program, one, programs.get(OURS)) for program, one in ranked),
        "",
    ]


def row(program: str, found: Found, ours: Found | None) -> str:
    """One program."""
    seconds = Mean.of([one.seconds for one in found.results]).value
    difference = ""
    if ours is not None and not PROGRAMS[program].is_ours:
        difference = above(ours.recall(), found.recall())
    return (
        f"| {program} | {shown(found.recall())} | {shown(found.mrr())} "
        f"| {part(found, 'repeats')} | {part(found, 'others')} | {seconds:.0f} "
        f"| {searched(found)} | {difference} |"
    )


def shown(mean: Mean) -> str:
    """Mean ± standard error."""
    return f"{mean.value:.4f} ± {mean.error:.4f}"


def part(found: Found, name: str) -> str:
    """Mean Recall@20 of some of the targets; a dash where there are none."""
    values = [getattr(one.test, name) for one in found.results]
    return "–" if None in values else f"{Mean.of(values).value:.3f}"


def above(ours: Mean, other: Mean) -> str:
    """The difference, and how many standard errors it is."""
    return f"{ours.value - other.value:+.4f} ({ours.standard_errors_above(other):+.1f} SE)"


def searched(found: Found) -> str:
    """The chosen value of what the search tries."""
    tried = [run.setting for run, _ in found.tried]
    keys = [key for key in tried[0] if len({json.dumps(one[key]) for one in tried}) > 1]
    return ", ".join(f"{key} {found.chosen.setting[key]:g}".replace("_", " ") for key in keys)


def best_peer(programs: dict[str, Found]) -> str | None:
    """The peer with the best mean Recall@20 on test."""
    peers = [name for name in programs if not PROGRAMS[name].is_ours]
    return max(peers, key=lambda name: programs[name].recall().value, default=None)


def verdict(found: dict[str, dict[str, Found]]) -> list[str]:
    """Whether the click endpoint is at least as good as the best peer, by log and altogether."""
    lines = [
        "## Ours at the click endpoint minus the best peer",
        "",
        "| log | best peer | Recall@20 | MRR@20 | within one standard error |",
        "|---|---|---|---|---|",
    ]
    held = 0
    judged = 0
    for name, programs in found.items():
        peer = best_peer(programs)
        if peer is None or OURS not in programs:
            continue
        ours, other = programs[OURS], programs[peer]
        is_held = ours.recall().standard_errors_above(other.recall()) >= -1
        judged, held = judged + 1, held + is_held
        lines.append(
            f"| {name} | {peer} | {above(ours.recall(), other.recall())} "
            f"| {above(ours.mrr(), other.mrr())} | {'yes' if is_held else 'no'} |"
        )
    answer = "held" if held >= NEEDED else "not held" if judged - held > 4 - NEEDED else "open"
    return [
        *lines,
        "",
        (
            f"At least as good as the best peer, within one standard error, on {held} of {judged} "
            f"logs; {NEEDED} of 4 are needed: **{answer}**."
        ),
        "",
    ]


def grids(found: dict[str, dict[str, Found]]) -> list[str]:
    """What every search tried, and Recall@20 on validation."""
    lines = [
        "## What was tried",
        "",
        "| log | program | from | setting: Recall@20 on validation |",
        "|---|---|---|---|",
    ]
    for name, programs in found.items():
        for program, one in programs.items():
            tried = "; ".join(
                f"{searched(Found([*one.tried], run, one.results))}: {result.validation.recall:.4f}"
                for run, result in one.tried
            )
            constant = {
                key: value
                for key, value in one.chosen.setting.items()
                if all(run.setting[key] == value for run, _ in one.tried)
            }
            rest = ", ".join(f"{key} {value}" for key, value in constant.items())
            source = PROGRAMS[program].source + (f" ({rest})" if rest else "")
            lines.append(f"| {name} | {program} | {source} | {tried} |")
    return lines
