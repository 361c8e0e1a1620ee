"""What stands in the report's tables, and in the last lines on the command line?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from brainalign.encoding.result import Encoding
from brainalign.reporting.facts import left_out
from brainalign.reporting.found import (
    axis_of,
    baseline_bands,
    best_layers,
    ceiling_of,
    chance_of,
    fdr_of,
    gain_over_people,
    gain_over_targets,
    gain_per_person,
    gain_per_target,
    has_lags,
    interval_of,
    labels_of,
    mean_r,
    models_of,
    nouns_of,
    parts_of,
    parts_over_ceiling,
    people_gains,
    records,
    rows_of,
    targets_of,
)
from brainalign.reporting.peaks import at_peaks, nested_r, peak_words
from brainalign.reporting.wording import (
    DASH,
    MINUS,
    SMALLEST,
    as_typed,
    at_floor,
    counted,
    listed,
    number,
    p_value,
    percent,
    seconds,
    signed,
    span,
)

MANY = 30  # targets; beyond, a distribution and its best are shown instead of every one
BEST = 10  # of many
BEST_AT_LAGS = 20  # of many electrodes, each at its best lag
BEYOND = (
    "Other p: what the baseline leaves over is moved in time and both models predict anew; how "
    "often is as much gained? 1 where nothing was."
)
UNSEEN = "r, lag from inner folds"
TESTS = {"p": "p", "q": "q", "p_fwe": "family-wise p", "p_cluster": "cluster p"}  # columns of `scores`, and their names
CORRECTED = {
    "p_fwe": "Family-wise p: compared with the highest score anywhere, so that one false finding among all is as rare.",
    "p_cluster": "Cluster p: compared with the heaviest cluster there is; it speaks of clusters, not of targets.",
}


@dataclass(frozen=True)
class Table:
    """Text for every cell, and what has to be said below."""

    head: list[str]
    rows: list[list[str]]
    notes: list[str]
    last_is_mean: bool = False


def summary(fit: Encoding) -> list[str]:
    r"""The result in 10 to 20 aligned lines of plain text, as the command line prints it.

    Parameters
    ----------
    fit : Encoding

    Returns
    -------
    list of str
        Without the parts that were not computed.

    Examples
    --------
    >>> import numpy as np, pandas as pd
    >>> from brainalign.encoding.folds import by_run, drawn
    >>> from brainalign.signals import Signal
    >>> samples = pd.DataFrame({"run": ["1", "1", "2", "2"], "time": [0.0, 2.0, 0.0, 2.0], "fold": [1, 1, 2, 2]})
    >>> brain = Signal(np.eye(4, 1), samples, pd.DataFrame({"roi": ["LIFG"]}))
    >>> known = {"roi": ["LIFG"], "model": "full", "r": 0.31, "normalised_r": np.nan, "ceiling_kind": "none"}
    >>> scores = pd.DataFrame(known)
    >>> print(*summary(Encoding(scores, brain, brain, drawn(by_run(brain), samples))), sep="\n")
    r of full  .31, mean over 1 region
    ceiling    — (no ceiling was estimated)
    """
    which = models_of(fit)
    over = f"mean over {targets_of(fit)}"
    lines = [("warning", note) for note in warnings_in(fit)]
    if which.baseline and which.baseline != which.lead:
        named = f" ({' + '.join(baseline_bands(fit))})" if baseline_bands(fit) else ""
        lines.append(("r of baseline", f"{number(mean_r(fit, which.baseline))}, {over}{named}"))
    lines.append((f"r of {which.lead}", f"{number(mean_r(fit, which.lead))}, {over}" + _how_led(fit)))
    lines += [("gain", line) for line in gain_lines(fit)]
    if peak_words(fit):
        lines.append(("best lag", f"mean r is highest {peak_words(fit)} (seen on the test samples)"))
    best = best_layers(fit)
    if len(best):
        ranked = "; ".join(f"{row['model']} {number(row['r'])}" for row in records(best))
        seen = f"(best of {len(fit.layers)} on the test samples, so a little too good)"
        lines.append((f"best {axis_of(fit.layers)}s", f"{ranked} {seen}"))
    lines.append(("ceiling", _ceiling_line(fit)))
    lines += [("controls", line) for line in _control_lines(fit)]
    lines += [("left out", f"sub-{who['subject']}: {who['why']}") for who in left_out(fit)]
    return _aligned(lines)


def answer(fit: Encoding) -> str:
    """The study's question, answered in a sentence or two."""
    which = models_of(fit)
    over = f"on average over {targets_of(fit)}"
    lead = number(mean_r(fit, which.lead))
    if not which.baseline or which.baseline == which.lead:
        return f"Responses never seen in training are predicted with r {lead}, {over}.{_best_lag(fit)}{_share(fit)}"
    named = f" ({' + '.join(baseline_bands(fit))})" if baseline_bands(fit) else ""
    seen = ", the best of several on the test samples," if which.seen else ""
    text = f"The baseline{named} predicts responses never seen in training with r "
    text += f"{number(mean_r(fit, which.baseline))}, with {which.added}{seen} it is {lead}, {over}"
    gain = gain_over_targets(fit)
    text += f": a {'gain' if gain.value > 0 else 'change'} of {signed(gain.value)}{_bracketed(interval_of(gain))}."
    people = people_gains(fit)
    if len(people):
        whole = gain_over_people(fit)
        about = "; ".join(filter(None, (f"mean {signed(whole.value)}", interval_of(whole), chance_of(whole))))
        text += f" {(people > 0).sum()} of {len(people)} people gain ({about})."
    return text + _best_lag(fit) + _share(fit)


def warnings_in(fit: Encoding) -> list[str]:
    """What makes every number of a result doubtful; it stands before them."""
    return [note for note in fit.notes if note.startswith("LEAKY FOLDS")]


def gain_lines(fit: Encoding) -> list[str]:
    """Gain over targets, and over people, each with its interval and the kind of it."""
    which = models_of(fit)
    if not which.baseline or which.baseline == which.lead:
        return []
    gain = gain_over_targets(fit)
    lines = [f"{signed(gain.value)} in r{_bracketed(interval_of(gain))}"]
    people = people_gains(fit)
    if len(people):
        whole = gain_over_people(fit)
        chance = f", {chance_of(whole)}" if chance_of(whole) else ""
        lines.append(
            f"{signed(whole.value)} over {len(people)} people{_bracketed(interval_of(whole))}{chance}; "
            f"{(people > 0).sum()} of {len(people)} gain"
        )
    return lines


def target_table(fit: Encoding) -> Table:
    """Raw score, ceiling and normalised score of every target side by side; the best of them where there are many.

    Each electrode at its best lag, beside what a lag gives that was chosen without the test samples.
    """
    which, every = models_of(fit), fit
    fit = at_peaks(fit)
    picked = fit is not every
    lead, base = rows_of(fit, which.lead), rows_of(fit, which.baseline)
    labels = labels_of(fit.observed.columns.drop(columns="lag") if picked else fit.observed.columns)
    compared = bool(which.baseline) and which.baseline != which.lead
    order = np.arange(len(lead))
    notes = []
    if len(order) > MANY:
        most = BEST_AT_LAGS if picked else BEST
        order = np.argsort(-lead["r"].fillna(-np.inf).to_numpy(), kind="stable")[:most]
        notes.append(f"The {most} best of {len(lead):,} {nouns_of(fit)[1]}, by r of {which.lead}.")
    where, about = _where(every, fit.observed.columns.iloc[order]) if picked else ({}, [])
    notes += about
    head = [
        nouns_of(fit)[0],
        *(name for name in where if name != UNSEEN),
        *(["baseline r"] if compared else []),
        f"{which.lead} r",
        *(name for name in where if name == UNSEEN),
        "r²",
        "ceiling r",
        "normalised r",
    ]
    tests = {name: texts for name, texts in _tests(lead).items() if not (picked and name == "p")}
    head += [TESTS[name] for name in tests]
    rows = []
    for place, i in enumerate(order):
        row = lead.iloc[i]
        cells = [
            labels[i],
            *(texts[place] for name, texts in where.items() if name != UNSEEN),
            *([number(base["r"].iloc[i], 3)] if compared else []),
            number(row["r"], 3),
            *(texts[place] for name, texts in where.items() if name == UNSEEN),
            number(row["r2"], 3),
        ]
        cells += [number(row["ceiling_r"]), number(row["normalised_r"])]
        rows.append(cells + [texts[i] for texts in tests.values()])
    has_mean = len(lead) > 1 and not picked  # of scores picked for being high a mean says little
    if has_mean:
        ceiling, share, _ = ceiling_of(fit)
        mean = ["mean", *([number(mean_r(fit, which.baseline), 3)] if compared else []), number(lead["r"].mean(), 3)]
        rows.append([*mean, number(lead["r2"].mean(), 3), number(ceiling), number(share), *[""] * len(tests)])
    silent = int(lead["r"].isna().sum())
    if silent:
        which_ones = counted(silent, nouns_of(fit))
        notes.append(f"r is {DASH} in {which_ones}, where the prediction never changes; means leave them out.")
    notes += why_not_normalised(fit)
    if has_mean and ceiling_of(fit)[2]:
        notes.append("Mean of normalised scores: a ratio of means.")
    notes += [SMALLEST] * any("≤" in cell for row in rows for cell in row[len(head) - len(tests) :])
    notes += [CORRECTED[name] for name in CORRECTED if name in tests]
    return Table(head, rows, notes, last_is_mean=has_mean)


def _where(fit: Encoding, electrodes: pd.DataFrame) -> tuple[dict[str, list[str]], list[str]]:
    """Further columns of a table of electrodes at their best lags, and what they are."""
    found = {"region": [str(name) for name in electrodes["region"]]} if "region" in electrodes else {}
    found["best lag"] = [seconds(lag) for lag in electrodes["lag"].astype(float)]
    notes = ["Best lag: where r is highest on the test samples, which flatters r."]
    nested = nested_r(fit, electrodes)
    if np.isfinite(nested).any():
        found[UNSEEN] = [number(r, 3) for r in nested]
        notes[0] += " Lag from inner folds: chosen in each fold without its test samples."
    return found, notes


def _tests(lead: pd.DataFrame) -> dict[str, list[str]]:
    """The p and q there are, as text, target by target."""
    floor = lead.get("p_floor", pd.Series(np.nan, lead.index))
    return {
        name: [p_value(p, np.nan if name == "q" else least) for p, least in zip(lead[name], floor, strict=True)]
        for name in TESTS
        if name in lead and lead[name].notna().any()
    }


def why_not_normalised(fit: Encoding) -> list[str]:
    """Why a normalised score is a dash, target by target where they are few."""
    rows = rows_of(fit, models_of(fit).lead)
    missing = rows[rows["normalised_r"].isna()]
    if missing.empty:
        return []
    if set(rows["ceiling_kind"]) == {"none"}:
        return [f"{DASH} {_no_ceiling(fit)}."]
    counted_text = f"{counted(len(missing), nouns_of(fit))} of {len(rows):,}"
    if len(rows) > MANY:
        return [
            f"{DASH} in {counted_text}: the ceiling cannot be told from zero there, so the score is not divided by it."
        ]
    labels = labels_of(fit.observed.columns)
    each = [f"{labels[i]} (p {p_value(rows['ceiling_p'].iloc[i])})" for i in missing.index]
    return [f"{DASH} {listed(each)}: the ceiling cannot be told from zero, so the score is not divided by it."]


def gain_table(fit: Encoding) -> Table | None:
    """Full less baseline: per target, over targets, per person, over people."""
    which = models_of(fit)
    if not which.baseline or which.baseline == which.lead:
        return None
    per, targets, people = gain_per_target(fit), gain_over_targets(fit), gain_over_people(fit)
    named = list(zip(labels_of(fit.observed.columns), per, strict=True)) if 1 < len(per) <= MANY else []
    named.append((f"mean of {targets_of(fit)}", targets))
    each = gain_per_person(fit)
    named += [(f"sub-{name}", gain) for name, gain in each] if len(each) <= MANY else []
    named += [(f"mean of {people.n} people", people)] if people.n else []
    rows = [[name, signed(g.value), span(g.low, g.high), p_value(g.p, g.p_floor)] for name, g in named]
    notes = [f"Intervals of {nouns_of(fit)[1]}: {targets.kind}."] if targets.kind else []
    if people.n:
        notes += [f"Interval of people: {people.kind}."] if people.kind else []
        notes += ["p of their mean: sign-flip test over people, one-sided."] if people.p == people.p else []
    tested = any(gain.p == gain.p for _, gain in named)
    if any(gain.p == gain.p for _, gain in named if gain is not people):
        notes.append(BEYOND)
    notes += [SMALLEST] * any(at_floor(gain.p, gain.p_floor) for _, gain in named)
    return Table(["", "gain in r", "95 % interval", *["p"] * tested], [row[: 3 + tested] for row in rows], notes)


def partition_table(fit: Encoding) -> Table | None:
    """What every feature earned, on average over targets: its product part, and what it alone explains."""
    product, unique = parts_of(fit, "product"), parts_of(fit, "unique")
    names = list(dict.fromkeys([*product, *unique]))
    if len(names) < 2:
        return None
    together = [""] * bool(len(product.columns))  # no feature is called so
    product = product.assign(**dict.fromkeys(together, product.sum(axis=1, skipna=False)))
    columns = []
    for kind, parts in (("product", product), ("unique", unique)):
        shares = parts_over_ceiling(fit, parts)
        columns += [(f"{kind} R²", pd.Series([number(m, 3) for m in parts.mean().to_numpy()], parts.columns))] * bool(
            len(shares)
        )
        columns += [("over ceiling", shares.map(percent))] * bool(shares.notna().any())
    q = parts_of(fit, "unique", "q")
    told = [f"{(q[name] < fdr_of(fit)).sum():,} of {q[name].notna().sum():,}" for name in q]
    if q.notna().any(axis=None):
        columns.append(
            (f"unique, q\N{NO-BREAK SPACE}<\N{NO-BREAK SPACE}{as_typed(fdr_of(fit))}", pd.Series(told, q.columns))
        )
    rows = [
        [name or "together", *(texts.get(name, DASH * bool(name)) for _, texts in columns)] for name in names + together
    ]
    notes = [f"Means over {targets_of(fit)}."] * (len(product) > 1)
    notes += ["Over ceiling: a ratio of means."] * any(head == "over ceiling" for head, _ in columns)
    return Table(["", *(head for head, _ in columns)], rows, notes, last_is_mean=bool(together))


def control_table(fit: Encoding) -> Table | None:
    """The same study with one thing changed, and how far its gain falls behind the one as asked."""
    if fit.controls.empty:
        return None
    tested = "p" in fit.controls and bool(fit.controls["p"].notna().any())
    rows = [
        [
            str(row["what"]) or str(row["control"]),
            *(number(row[name], 3) for name in ("baseline_r", "full_r")),
            signed(row["gain_r"]),
            signed(row["difference"]),
            span(row["low"], row["high"]),
            *([p_value(row["p"])] if tested else []),
        ]
        for row in records(fit.controls.fillna({"what": ""}))
    ]
    notes = ["Lost: the gain as asked less this one's, with its interval over blocks of time (conditional, paired)."]
    notes += ["p: sign-flip test over people that something is lost, one-sided."] * tested
    return Table(["", "baseline r", "full r", "gain in r", "lost", "95 % interval", *["p"] * tested], rows, notes)


def _how_led(fit: Encoding) -> str:
    which = models_of(fit)
    if which.seen:
        return " (best of several on the test samples, so a little too good)"
    return f" ({axis_of(fit.layers)} chosen in inner folds)" if "chosen" in fit.layers else ""


def _best_lag(fit: Encoding) -> str:
    words = peak_words(fit)
    return f" Mean r is highest {words} (the lag seen on the test samples)." if words else ""


def _bracketed(text: str) -> str:
    return f" ({text})" if text else ""


def _share(fit: Encoding) -> str:
    which = models_of(fit)
    ceiling, share, n = ceiling_of(fit)
    if not n:
        return ""
    total = fit.observed.shape[1]
    many = "" if has_lags(fit.observed.columns) else f" {nouns_of(fit)[1]}"
    some = f" in the {n:,} of {total:,}{many} that have one" if n < total else ""
    named = f"With {which.added}, r" if which.baseline else "r"
    return f" {named} reaches {percent(share)} of the noise ceiling{some} (mean ceiling {number(ceiling)})."


def _ceiling_line(fit: Encoding) -> str:
    ceiling, share, n = ceiling_of(fit)
    kind = ", ".join(str(k).replace("_", " ") for k in dict.fromkeys(fit.scores["ceiling_kind"]))
    if not n:
        return DASH + f" ({_no_ceiling(fit) if kind == 'none' else kind + ', nowhere told from zero'})"
    total = fit.observed.shape[1]
    some = f", {n:,} of {total:,} {nouns_of(fit)[1]}" if n < total else ""
    return f"r {number(ceiling)} ({kind}{some}); {models_of(fit).lead} reaches {percent(share)} of it"


def _no_ceiling(fit: Encoding) -> str:
    """Why there is none, as the rule said when it was asked."""
    return next(
        (n.removeprefix("ceiling: ") for n in fit.notes if n.startswith("ceiling: ")), "no ceiling was estimated"
    )


def _control_lines(fit: Encoding) -> list[str]:
    if fit.controls.empty:
        return []
    width = max(len(str(name)) for name in fit.controls["control"])
    return [
        f"{row['control']:<{width}}  baseline {number(row['baseline_r'])}, full {number(row['full_r'])}, "
        f"gain {signed(row['gain_r'])}{_lost(row)}"
        for row in records(fit.controls)
    ]


def _lost(row: dict[str, Any]) -> str:
    """How much of the gain as asked a control lost; nothing of the row as asked."""
    if row["difference"] != row["difference"]:
        return ""
    interval = f" ({span(row['low'], row['high'])})" if row["low"] == row["low"] else ""
    chance = f", p {p_value(row['p'])}" if row.get("p", float("nan")) == row.get("p") else ""
    return f"; lost {signed(row['difference'])}{interval}{chance}"


def _aligned(lines: list[tuple[str, str]]) -> list[str]:
    """Names in a column of their own, said once; plain ASCII minus, so that numbers can be copied."""
    width = max(len(name) for name, _ in lines) + 2
    out, before = [], ""
    for name, value in lines:
        out.append(f"{'' if name == before else name:<{width}}{value}".replace(MINUS, "-"))
        before = name
    return out
