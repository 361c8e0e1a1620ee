"""What does a language model make of each word in its context?"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from brainalign.errors import InputError, SettingsError
from brainalign.features.loading import ResolvedModel, load, quiet_transformers
from brainalign.features.models import locate_model
from brainalign.features.samples import samples_of
from brainalign.provenance import hash_frame, versions
from brainalign.signals import Signal
from brainalign.store import Store, key_of

METHOD = 1  # counts up when the same settings would give other numbers
BATCH_BYTES = 64 << 20  # hidden states of all layers held at once
BATCH_WINDOWS = 64  # and no more windows than this, for what a model needs besides
CAUSAL_TOLERANCE = 1e-4  # relative; a model that reads ahead changes its states by the order of 1


def embed_words(
    words: pd.DataFrame,
    model: str | Path | ResolvedModel = "smollm2-135m",
    layers: Literal["all"] | Sequence[int] = "all",
    context: int = 128,
    reset: Literal["run"] | None = "run",
    pool: Literal["mean", "last", "first"] = "mean",
    name: str | None = None,
    device: str = "auto",
    store: Store | None = None,
) -> Signal:
    """The hidden states of a causal language model for every word, given the words before it.

    The words of a run, joined by single spaces, are read in windows of at most `context` tokens. A window opens with a
    sink token, whose state is discarded (a model's first token is an outlier), and with half a window of what came
    before; the words after that are the new ones. So each word is read with between context/2 and `context` tokens
    before it, except where its run (or, with ``reset=None``, the recording) has just begun, and each token is read
    about twice. For the words it keeps, a window gives what one forward pass per word from the same starting point
    gives (to 1e-5 of a state's norm), in a small part of the time.

    Parameters
    ----------
    words : DataFrame
        `run`, `onset` (s), `word`, and `duration` (s) where known; onsets never fall within a run.
    model : str, path or ResolvedModel
        A card's name, a folder, a Hugging Face id, or what `untrained` gives.
    layers : "all" or list of int
        0 is the embedding, L the last block (after the final norm, as in transformers' `hidden_states`).
    context : int
        Tokens in a window, without the sink.
    reset : "run" or None
        "run": nothing is carried from one run into the next. None: the runs are one text, in the order of the rows.
    pool : {"mean", "last", "first"}
        What becomes of a word of several tokens. A token belongs to a word if it covers one of its characters.
    name : str, optional
        What the bands are called; default the model's name.
    device : str
        What torch calls it; "auto" is the first GPU, else the CPU.
    store : Store, optional
        Where the states are kept, and found again whenever text, model and settings are the same.

    Returns
    -------
    Signal
        (n_words, n_layers × width) float32; samples are the words; columns have `band` = "name.layer", `layer`, `unit`.
        ``attrs["features"][name]`` says how they were made: `model`, `revision`, `context`, `stride`, `sink`, `reset`,
        `context_crosses_runs`, `pool`, `dtype`. Memory: four bytes per value, the model's weights (four bytes each),
        and up to 64 MB of states being pooled.

    Raises
    ------
    InputError
        The words cannot be read (`samples_of`), one has no token, or one has more than half a window of them.
    SettingsError
        A layer or a context the model does not have, a model that is not causal, or none of that name.

    Examples
    --------
    >>> words = pd.DataFrame({"run": "1", "onset": [0.1, 0.6, 0.9], "word": ["Once", "upon", "a"]})
    >>> embed_words(words, model="stories260k", layers=[0, 5])
    Signal(3 samples × 128 columns; 1 run; 0.1–0.9 s; bands stories260k.0, stories260k.5)
    """
    samples = samples_of(words, "word")
    _check_settings(layers, context, reset, pool)
    found = model if isinstance(model, ResolvedModel) else locate_model(model)
    settings = {"context": int(context), "stride": context // 2, "reset": reset, "pool": pool, "dtype": "float32"}

    def compute() -> dict[str, np.ndarray]:
        return _compute(samples, found, layers, context, reset, pool, device)

    if store is None:
        arrays = compute()
    else:
        key = key_of(
            kind="words",
            method=METHOD,
            words=hash_frame(samples[["run", "stimulus"]]),
            model=found.revision,
            tokenizer=found.tokenizer,
            layers=layers if layers == "all" else [int(layer) for layer in layers],
            versions={package: version.split(".")[0] for package, version in versions("torch", "transformers").items()},
            **settings,
        )
        arrays = store.compute(key, compute, meta={"model": found.name, "n_words": len(samples)}).arrays
    name = name or found.name
    crosses = reset is None and samples["run"].nunique() > 1
    reach = _reach_s(samples, context)
    known = {"kind": "language", "model": found.name, "revision": found.revision, "sink": str(arrays["sink"])}
    return Signal(
        arrays["values"],
        samples,
        _columns(name, arrays["layers"], arrays["values"].shape[1]),
        attrs={"features": {name: {**known, **settings, "context_crosses_runs": crosses, "context_s": reach}}},
    )


def _reach_s(samples: pd.DataFrame, context: int) -> float:
    """How many seconds a context reaches back at most: the median time that as many words as it has tokens take."""
    spans = []
    for _, run in samples.groupby("run", sort=False):
        onset = run["time"].to_numpy(float)
        spans.append(onset - onset[np.maximum(np.arange(len(onset)) - context, 0)])
    return round(float(np.median(np.concatenate(spans))), 1)


@dataclass(frozen=True)
class Window:
    """Tokens `start` to `stop` of a text are read together; the words `first` to `last` (not included) are kept."""

    start: int
    stop: int
    first: int
    last: int


@dataclass(frozen=True)
class Text:
    """One text as the model reads it.

    `tokens`: (n_tokens,) ids; `covers`: per word, which tokens cover one of its characters, ascending;
    `windows`: how it is read; `rows`: the words' rows in the samples table.
    """

    tokens: np.ndarray
    covers: list[np.ndarray]
    windows: list[Window]
    rows: np.ndarray


def words_to_tokens(words: Sequence[str], offsets: Sequence[tuple[int, int]]) -> list[np.ndarray]:
    """Which tokens cover a character of each word, the words being joined by single spaces.

    Parameters
    ----------
    words : list of str
    offsets : list of (begin, end)
        Per token, the characters of the joined text it stands for; neither ever falls. Spaces belong to no word, so
        ``" was"`` covers the word "was" alone, and a token that covers two words belongs to both.

    Returns
    -------
    list of int arrays, one per word
        Empty where a word has no token.

    Examples
    --------
    >>> [tokens.tolist() for tokens in words_to_tokens(["don't", "go"], [(0, 3), (3, 5), (5, 8)])]
    [[0, 1], [2]]
    """
    ends = np.cumsum([len(word) + 1 for word in words]) - 1  # where each word stops, the space not included
    begins = ends - [len(word) for word in words]
    spans = np.asarray(offsets, int).reshape(-1, 2)
    first = np.searchsorted(spans[:, 1], begins, side="right")
    stop = np.searchsorted(spans[:, 0], ends, side="left")
    return [
        tokens[spans[tokens, 1] > spans[tokens, 0]] for tokens in (np.arange(a, max(a, b)) for a, b in zip(first, stop))
    ]


def plan_windows(first: np.ndarray, stop: np.ndarray, context: int) -> list[Window]:
    """Cut a text into windows that share half their tokens with the one before.

    Parameters
    ----------
    first, stop : (n_words,) int
        The first token of each word, and the one after its last; neither ever falls.
    context : int
        Tokens in a window. A word never lies in two windows' new parts.

    Returns
    -------
    list of Window
        Every word is kept by exactly one. A word that does not fit is kept by none (`last` == `first`).

    Examples
    --------
    >>> plan_windows(np.arange(6), np.arange(6) + 1, context=4)
    [Window(start=0, stop=4, first=0, last=4), Window(start=2, stop=6, first=4, last=6)]
    """
    windows: list[Window] = []
    word = 0
    while word < len(first):
        start = max(0, int(first[word]) - (context - context // 2))
        last = int(np.searchsorted(stop, start + context, side="right"))
        if last <= word:
            return [*windows, Window(start, int(stop[word]), word, word)]
        windows.append(Window(start, int(stop[last - 1]), word, last))
        word = last
    return windows


def _check_settings(layers: Any, context: Any, reset: Any, pool: Any) -> None:
    whole = (int, np.integer)
    listed = isinstance(layers, Iterable) and not isinstance(layers, (str, bytes))
    if layers != "all" and not (listed and len(list(layers)) and all(isinstance(k, whole) for k in layers)):
        raise SettingsError(f"layers is 'all' or a list of numbers such as [12]; found {layers!r}")
    if layers != "all" and len(set(layers)) < len(list(layers)):
        raise SettingsError(f"layers names a layer twice: {list(layers)}")
    if not isinstance(context, whole) or context < 2:
        raise SettingsError(f"context is a number of tokens, at least 2; found {context!r}")
    if reset not in ("run", None):
        raise SettingsError(f"reset is 'run' (each run begins anew) or None (the runs are one text); found {reset!r}")
    if pool not in ("mean", "last", "first"):
        raise SettingsError(f"pool is 'mean', 'last' or 'first'; found {pool!r}")


def _columns(name: str, layers: np.ndarray, n_columns: int) -> pd.DataFrame:
    width = n_columns // len(layers)
    return pd.DataFrame(
        {
            "band": np.repeat([f"{name}.{layer}" for layer in layers], width),
            "layer": np.repeat(np.asarray(layers), width),
            "unit": np.tile(np.arange(width), len(layers)),
        }
    )


def _compute(
    samples: pd.DataFrame, found: ResolvedModel, layers: Any, context: int, reset: Any, pool: str, device: str
) -> dict[str, np.ndarray]:
    loaded = load(found, device)
    tokenizer, network = loaded.tokenizer, loaded.network
    limit = getattr(network.config.get_text_config(), "max_position_embeddings", None)
    if limit is not None and context + 1 > limit:
        raise SettingsError(
            f"context={context} and the sink make {context + 1} tokens, model {found.name!r} reads at most {limit}: "
            f"context can be up to {limit - 1}"
        )
    sink = choose_sink(tokenizer, found.name)
    groups = samples.groupby("run", sort=False).indices.values() if reset == "run" else [np.arange(len(samples))]
    texts = [_tokenize(tokenizer, samples, np.asarray(rows), context) for rows in groups]
    n_states, width = _try_out(network, found.name, sink, texts[0].tokens)
    chosen = _choose_layers(layers, n_states - 1, found.name)
    longest = 1 + max(window.stop - window.start for text in texts for window in text.windows)
    batch = min(BATCH_WINDOWS, max(1, BATCH_BYTES // (4 * n_states * longest * width)))
    values = np.empty((len(samples), len(chosen), width), np.float32)
    _read(network, texts, sink, chosen, pool, batch, values)
    return {
        "values": values.reshape(len(samples), -1),
        "layers": np.array(chosen),
        "sink": np.array(tokenizer.convert_ids_to_tokens(sink)),
    }


def _choose_layers(layers: Any, n_layers: int, name: str) -> list[int]:
    if isinstance(layers, str):
        return list(range(n_layers + 1))
    odd = [layer for layer in layers if not 0 <= layer <= n_layers]
    if odd:
        raise SettingsError(
            f"model {name!r} has no layer {odd[0]}: it has {n_layers + 1}, from 0 (the embedding) to {n_layers}"
        )
    return [int(layer) for layer in layers]


def choose_sink(tokenizer: Any, name: str) -> int:
    """The token a window opens with: BOS, else the one that ends or pads texts, else the first special one.

    Raises
    ------
    SettingsError
        The tokenizer has no special token.
    """
    for token in (tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id, *tokenizer.all_special_ids):
        if token is not None:
            return int(token)
    raise SettingsError(f"the tokenizer of model {name!r} has no special token to open a window with: it needs a BOS")


def _tokenize(tokenizer: Any, samples: pd.DataFrame, rows: np.ndarray, context: int) -> Text:
    tokens, covers = read_tokens(tokenizer, samples, rows)
    windows = plan_windows(np.array([t[0] for t in covers]), np.array([t[-1] + 1 for t in covers]), context)
    if windows[-1].last == windows[-1].first:
        word, row = windows[-1].first, rows[windows[-1].first]
        raise InputError(
            f"word {samples['stimulus'].iloc[row]!r} ({_where(samples, row)}) has {len(covers[word])} tokens, more "
            f"than half of context={context}: use a context of at least {2 * len(covers[word])}"
        )
    return Text(tokens, covers, windows, rows)


def read_tokens(tokenizer: Any, samples: pd.DataFrame, rows: np.ndarray) -> tuple[np.ndarray, list[np.ndarray]]:
    """The words of these rows as one text: its token ids, and for each word which of them cover it.

    Raises
    ------
    InputError
        A word has no token.
    SettingsError
        The tokenizer does not say which characters a token covers.
    """
    if not tokenizer.is_fast:
        raise SettingsError("the model's tokenizer cannot say which characters a token covers: it needs tokenizer.json")
    words = samples["stimulus"].iloc[rows].tolist()
    with quiet_transformers():  # a text longer than the model's limit is what windows are for
        read = tokenizer(" ".join(words), add_special_tokens=False, return_offsets_mapping=True, truncation=False)
    covers = words_to_tokens(words, read["offset_mapping"])
    for word, tokens in enumerate(covers):
        if len(tokens) == 0:
            raise InputError(
                f"word {words[word]!r} ({_where(samples, rows[word])}) has no token in this model's vocabulary: leave "
                "it out, or write it otherwise"
            )
    return np.asarray(read["input_ids"], np.int64), covers


def _where(samples: pd.DataFrame, row: int) -> str:
    return f"row {row}, run {samples['run'].iloc[row]}, {samples['time'].iloc[row]:g} s"


def _try_out(network: Any, name: str, sink: int, tokens: np.ndarray) -> tuple[int, int]:
    """How many layers of states a model gives, and how wide; refuses a model that reads ahead.

    Windows and padding are only right where no state depends on later tokens: two texts that differ in their last
    token must have the same states before it.
    """
    seen = [sink, *tokens[:7].tolist()]
    last = seen[-1]
    other = [*seen[:-1], next(token for token in (*tokens.tolist(), sink, abs(last - 1)) if token != last)]
    states, others = _states(network, [seen]), _states(network, [other])
    for here, there in zip(states, others):
        a, b = here[0, :-1], there[0, :-1]
        if (a - b).norm() > CAUSAL_TOLERANCE * a.norm():
            raise SettingsError(
                f"model {name!r} reads words that come after the one it describes: embed_words needs a causal language "
                "model"
            )
    return len(states), int(states[0].shape[-1])


def _states(network: Any, windows: list[list[int]]) -> Any:
    """The hidden states of all layers, each (n_windows, longest, width); short windows are padded on the right.

    No attention mask: in a causal model nothing that is kept can see the padding, and without a mask the fast path of
    attention is taken.
    """
    import torch

    longest = max(len(window) for window in windows)
    ids = torch.tensor([window + window[:1] * (longest - len(window)) for window in windows], device=network.device)
    with torch.inference_mode():
        return network.base_model(input_ids=ids, output_hidden_states=True, use_cache=False).hidden_states


def _read(
    network: Any, texts: list[Text], sink: int, layers: list[int], pool: str, size: int, values: np.ndarray
) -> None:
    """Fill values (n_words, n_layers, width), `size` windows at a time."""
    jobs = [(text, window) for text in texts for window in text.windows]
    for begin in range(0, len(jobs), size):
        batch = jobs[begin : begin + size]
        states = _states(network, [[sink, *text.tokens[w.start : w.stop].tolist()] for text, w in batch])
        for k, (text, window) in enumerate(batch):
            rows = text.rows[window.first : window.last]
            kept = [_pooled(tokens, pool) - window.start + 1 for tokens in text.covers[window.first : window.last]]
            for place, layer in enumerate(layers):
                values[rows, place] = _mean_of(states[layer][k], kept)


def _pooled(tokens: np.ndarray, pool: str) -> np.ndarray:
    return {"mean": tokens, "last": tokens[-1:], "first": tokens[:1]}[pool]


def _mean_of(state: Any, kept: list[np.ndarray]) -> np.ndarray:
    """(n_words, width): the mean over each word's positions of state (n_positions, width)."""
    counts = np.array([len(positions) for positions in kept])
    flat = state[np.concatenate(kept)].float().cpu().numpy()
    return np.add.reduceat(flat, np.cumsum(counts) - counts, axis=0) / counts[:, None].astype(np.float32)
