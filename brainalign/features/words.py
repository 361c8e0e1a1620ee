"""What does a language model make of each word in its context?"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from brainalign.errors import InputError
from brainalign.features.asking import Asked, Band, check_limit, check_model, check_settings
from brainalign.features.loading import Dtype, ResolvedModel, load
from brainalign.features.models import locate_model
from brainalign.features.passages import MEASURES, Measure, Pool, Wanted, passages_of, read
from brainalign.features.reader import Reader, choose_layers, open_reader
from brainalign.features.samples import samples_of
from brainalign.features.tokens import Spelled, Text, place_of, spell, tokenize
from brainalign.features.transcript import Reading, align_words
from brainalign.features.windows import Context, Unit, Window, plan_windows
from brainalign.progress import Progress, silent
from brainalign.provenance import hash_array, versions
from brainalign.rows import RowJob, compute_rows, keep_rows, parts_of
from brainalign.scratch import span_of
from brainalign.signals import Signal
from brainalign.store import Store, key_of

METHOD = 2  # counts up when the same settings would give other numbers
PART_BYTES = 64 << 20  # of what is computed between two savings, ..
PART_TOKENS = 1 << 14  # .. or as many tokens read, whichever comes first

UNITS = {"surprisal": "bits", "entropy": "bits", "log_probability": "nats"}


def embed_words(
    words: pd.DataFrame,
    model: str | Path | ResolvedModel = "smollm2-135m",
    layers: Literal["all"] | Sequence[int] = "all",
    context: int = 128,
    *,
    unit: Unit = "tokens",
    exact: bool = False,
    ahead: bool = False,
    reset: Literal["run"] | None = "run",
    pool: Pool = "mean",
    bands: Sequence[Band] = ("hidden",),
    text: str | Path | Mapping[str, str | Path] | Reading | None = None,
    name: str | None = None,
    device: str = "auto",
    dtype: Dtype = "float32",
    store: Store | None = None,
    progress: Progress = silent,
) -> Signal:
    """The hidden states of a language model for every word, given the words before it, and how expected the word was.

    The words of a run, joined by single spaces (or in their `text`), are read in windows of at most `context` tokens,
    each between special tokens whose states are discarded: a sink that opens it (a model's first token is an outlier),
    or whatever the tokenizer of a model that reads both ways puts around a text. All layers come from one pass.

    A causal model reads windows that share half their tokens: half a window of what came before, then the new words.
    So each word is read with between context/2 and `context` tokens up to its end, except where its run (or, with
    ``reset=None``, the recording) has just begun, and each token is read about twice. For the words it keeps, a window
    gives what one forward pass per word from the same starting point gives (to 1e-5 of a state's norm), in a small part
    of the time. With ``exact=True`` every word is read with the whole context: a pass per word.

    A masked model, or the encoder of an encoder–decoder, reads both ways. It is not shown what had not been heard yet:
    a window ends with the word it is for, a pass per word. With ``ahead=True`` it is shown what follows, and the middle
    half of a window is kept (with ``exact``: only the word in its very middle).

    Parameters
    ----------
    words : DataFrame
        `run`, `onset` (s), `word`, and `duration` (s) where known; onsets never fall within a run.
    model : str, path or ResolvedModel
        A card's name, a folder, a Hugging Face id, or what `untrained` gives: a causal, masked or encoder–decoder
        language model.
    layers : "all" or list of int
        0 is the embedding, L the last block (as in transformers' `hidden_states`; causal models of the Llama kind after
        the final norm). Of an encoder–decoder: the encoder's.
    context : int
        The longest window, without special tokens; the word that is described counts.
    unit : {"tokens", "words"}
        Of `context`.
    exact : bool
        Whether every word gets the whole context instead of half of it to all of it.
    ahead : bool
        Whether a model that reads both ways may see the words after the one it describes.
    reset : "run" or None
        "run": nothing is carried from one run into the next. None: the runs are one text, in the order of the rows.
    pool : {"mean", "last", "first"}
        What becomes of a word of several tokens. A token belongs to a word if it covers one of its characters.
    bands : list of {"hidden", "surprisal", "entropy", "log_probability"}
        "hidden": the states of `layers`. The others, a column each, come from the same pass. "surprisal": −log₂ p(word
        | context), in bits, summed over the word's tokens and white space in front of it that is a token of its own and
        in the window; a token that covers two words is the first one's. "log_probability": ln p, in nats. "entropy":
        of what the model expects just before the word's first token, in bits (0 where it has none of its own). A causal
        model predicts each token from those before it; of a masked model the word is hidden and its tokens are revealed
        one by one from the left (Kauf & Ivanova 2023), a pass per token. An encoder–decoder has "hidden" only.
    text : str, Path, mapping of run → str or Path, or Reading, optional
        The print of what was heard, or what `align_words` made of it: the model then reads the words with the
        punctuation and the capitals of the print. Marks that stand for themselves belong to no word.
    name : str, optional
        What the bands are called; default the model's name.
    device : str
        What torch calls it; "auto" is the first GPU, else the CPU.
    dtype : {"float32", "float16", "bfloat16"}
        Of the model's weights and arithmetic; what is kept is float32.
    store : Store, optional
        Where the states are kept, and found again whenever text, model and settings are the same. They are written
        there as they come: memory does not grow with the text, and after a crash only what is missing is computed.
    progress : function (done, total, what), optional
        Told after each part.

    Returns
    -------
    Signal
        (n_words, n_layers × width + n_measures) float32; samples are the words; columns have `band` ("name.layer",
        "name.surprisal"), `layer` (none for measures) and `unit`. ``attrs["features"][name]`` says how they were made.
        Memory: four bytes per value (with a store: on disk), the model's weights, and some 200 MB.

    Raises
    ------
    InputError
        The words cannot be read (`samples_of`), some have no token, or one has more tokens than its window allows.
    SettingsError
        A layer or a context the model does not have, a band it cannot give, no language model, or none of that name.

    Examples
    --------
    >>> words = pd.DataFrame({"run": "1", "onset": [0.1, 0.6, 0.9], "word": ["Once", "upon", "a"]})
    >>> embed_words(words, model="stories260k", layers=[0, 5], bands=("hidden", "surprisal"))
    Signal(3 samples × 129 columns; 1 run; 0.1–0.9 s; bands stories260k.0, stories260k.5, stories260k.surprisal)
    """
    samples = samples_of(words, "word")
    layers = layers if isinstance(layers, str) or not isinstance(layers, Iterable) else list(layers)
    check_settings(layers, context, unit, exact, reset, pool, bands, dtype)
    found = model if isinstance(model, ResolvedModel) else locate_model(model)
    chosen = "all" if isinstance(layers, str) else tuple(int(layer) for layer in layers)
    asked = Asked(
        layers=chosen if "hidden" in bands else (),
        context=Context(int(context), unit, exact, ahead=ahead),
        pool=pool,
        bands=tuple(band for band in ("hidden", *MEASURES) if band in bands),
        dtype=dtype,
    )
    reading = text if text is None or isinstance(text, Reading) else align_words(words, text)
    if reading is not None:
        _check_reading(reading, samples)
    spelled = spell(samples, reset, reading)
    if store is None:
        job = _begin(samples, spelled, found, asked, device)
        arrays = {**compute_rows(job, progress)}
    else:
        arrays = _kept(store, samples, spelled, found, asked, device, progress)
    name = name or found.name
    known = {
        "kind": "language",
        "model": found.name,
        "revision": found.revision,
        "architecture": str(arrays["kind"]),
        "sink": str(arrays["sink"]),
        **asked.described(),
        "reset": reset,
        "context_crosses_runs": reset is None and samples["run"].nunique() > 1,
        "context_s": _reach_s(samples, context),
        **({} if reading is None else {"text": str(reading)}),
    }
    return Signal(
        arrays["values"],
        samples,
        _columns(name, arrays["layers"], asked.measures, arrays["values"].shape[1]),
        attrs={"features": {name: known}},
    )


def _kept(
    store: Store,
    samples: pd.DataFrame,
    spelled: list[Spelled],
    found: ResolvedModel,
    asked: Asked,
    device: str,
    progress: Progress,
) -> dict[str, Any]:
    def key_for(asked: Asked) -> str:
        return key_of(
            kind="words",
            method=METHOD,
            texts=[{"text": s.text, "spans": hash_array(s.spans), "rows": hash_array(s.rows)} for s in spelled],
            model=found.revision,
            tokenizer=found.tokenizer,
            layers=asked.layers,
            versions={package: version.split(".")[0] for package, version in versions("torch", "transformers").items()},
            **asked.described(),
        )

    if asked.layers != "all" and asked.bands == ("hidden",):
        whole = store.get(key_for(replace(asked, layers="all")))
        if whole is not None:
            return _some_layers(whole.arrays, asked.layers, found.name)
    return dict(
        keep_rows(
            store,
            key_for(asked),
            lambda: _begin(samples, spelled, found, asked, device),
            meta={"what": "words in context", "model": found.name, "n_words": len(samples)},
            progress=progress,
        )
    )


def _some_layers(arrays: Any, layers: Sequence[int], name: str) -> dict[str, Any]:
    """Some layers of what is kept of all of them."""
    chosen = choose_layers(layers, len(arrays["layers"]), name)
    width = arrays["values"].shape[1] // len(arrays["layers"])
    columns = np.concatenate([np.arange(layer * width, (layer + 1) * width) for layer in chosen])
    return {**arrays, "values": arrays["values"][:, span_of(columns)], "layers": np.array(chosen)}


def _check_reading(reading: Reading, samples: pd.DataFrame) -> None:
    """Refuse what was aligned with other words."""
    theirs = samples_of(reading.table, "word")
    if len(theirs) != len(samples):
        raise InputError(f"text was aligned with {len(theirs)} words, and here are {len(samples)}: align it with these")
    other = (theirs[["run", "stimulus"]] != samples[["run", "stimulus"]]).any(axis=1).to_numpy()
    if other.any():
        row = int(other.argmax())
        raise InputError(
            f"text was aligned with other words: {theirs['stimulus'].iloc[row]!r} of run {theirs['run'].iloc[row]} "
            f"stands where here is {samples['stimulus'].iloc[row]!r} ({place_of(samples, row)}): align it with these"
        )


def _reach_s(samples: pd.DataFrame, context: int) -> float:
    """How many seconds a context reaches back, mostly: the median time that as many words as it has tokens take."""
    spans = []
    for _, run in samples.groupby("run", sort=False):
        onset = run["time"].to_numpy(float)
        spans.append(onset - onset[np.maximum(np.arange(len(onset)) - context, 0)])
    return round(float(np.median(np.concatenate(spans))), 1)


def _columns(name: str, layers: np.ndarray, measures: Sequence[Measure], n_columns: int) -> pd.DataFrame:
    width = (n_columns - len(measures)) // max(len(layers), 1)
    columns = pd.DataFrame(
        {
            "band": np.repeat([f"{name}.{layer}" for layer in layers], width),
            "layer": np.repeat(np.asarray(layers), width),
            "unit": np.tile(np.arange(width), len(layers)),
        }
    )
    if not measures:
        return columns
    measured = pd.DataFrame({"band": [f"{name}.{m}" for m in measures], "unit": [UNITS[m] for m in measures]})
    return pd.concat([columns, measured], ignore_index=True) if len(columns) else measured


def _begin(samples: pd.DataFrame, spelled: list[Spelled], found: ResolvedModel, asked: Asked, device: str) -> RowJob:
    """Load the model, read the texts' tokens, plan the windows; nothing is computed yet."""
    model = load(found, device, asked.dtype)
    check_model(model, asked)
    context = replace(asked.context, both_ways=model.kind != "causal")
    texts = [tokenize(model.tokenizer, s, samples) for s in spelled]
    reader = open_reader(model, texts[0].tokens)
    layers = choose_layers(asked.layers, reader.n_states, found.name) if "hidden" in asked.bands else []
    wanted = Wanted(tuple(layers), asked.pool, asked.measures)
    jobs = [(text, window) for text in texts for window in plan_text(text, context, samples)]
    check_limit(reader, max(window.stop - window.start for _, window in jobs), context)
    width = wanted.n_columns(reader.width)
    groups = parts_of([_share(text, window, reader, wanted) for text, window in jobs])
    rows_of = [np.concatenate([text.rows[w.first : w.last] for text, w in jobs[g.start : g.stop]]) for g in groups]

    def compute(part: int) -> np.ndarray:
        return _block(jobs[groups[part].start : groups[part].stop], rows_of[part], reader, wanted)

    sink = model.tokenizer.convert_ids_to_tokens(list(reader.special.before[:1]))
    also = {"layers": np.array(layers, int), "sink": np.array("".join(sink)), "kind": np.array(model.kind)}
    return RowJob((len(samples), width), rows_of, compute, also, f"reading {len(samples)} words with {found.name}")


def _share(text: Text, window: Window, reader: Reader, wanted: Wanted) -> float:
    """How much of a part a window is, by what comes of it and by what is read for it."""
    length, words = window.stop - window.start, slice(window.first, window.last)
    guessed = wanted.measures and reader.model.kind != "causal"
    passages = 1 + int((text.covers[words, 1] - text.scored[words, 0]).sum()) if guessed else 1
    n_bytes = 4 * wanted.n_columns(reader.width) * (window.last - window.first)
    return max(n_bytes / PART_BYTES, length * passages / PART_TOKENS)


def _block(jobs: list[tuple[Text, Window]], rows: np.ndarray, reader: Reader, wanted: Wanted) -> np.ndarray:
    """(len(rows), n_columns): what the model makes of the words of some windows."""
    place = dict(zip(rows.tolist(), range(len(rows))))
    block = np.zeros((len(rows), wanted.n_columns(reader.width)), np.float32)
    passages = [passage for text, window in jobs for passage in passages_of(window, text, reader, wanted, place)]
    read(passages, reader, wanted, block)
    return block


def plan_text(text: Text, context: Context, samples: pd.DataFrame) -> list[Window]:
    """The windows a text is read in.

    Raises
    ------
    InputError
        A word has more tokens than it may have.
    """
    windows = plan_windows(text.covers[:, 0], text.covers[:, 1], context)
    if windows[-1].last == windows[-1].first:
        word = windows[-1].first
        n, row = int(np.diff(text.covers[word])[0]), int(text.rows[word])
        share, least = ("", n) if context.exact else ("half of ", 2 * n)
        raise InputError(
            f"word {samples['stimulus'].iloc[row]!r} ({place_of(samples, row)}) has {n} tokens, more than {share}"
            f"context={context.size}: use a context of at least {least}"
        )
    return windows
