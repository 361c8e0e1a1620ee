"""What does a language model make of passages: the states of the words, and how expected they were?"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from brainalign.features.batches import in_batches
from brainalign.features.reader import Reader, forward
from brainalign.features.tokens import Text
from brainalign.features.windows import Window

Pool = Literal["mean", "last", "first"]
Measure = Literal["surprisal", "entropy", "log_probability"]
MEASURES: tuple[Measure, ...] = ("surprisal", "entropy", "log_probability")
LOG_2 = float(np.log(2.0))
UNIT = {"surprisal": -1.0 / LOG_2, "log_probability": 1.0}  # of what is said in nats: bits, and nats

LOGITS_BYTES = 64 << 20  # predictions over the vocabulary held at once


@dataclass(frozen=True)
class Guess:
    """Where a passage is asked how likely a token of a word is.

    Parameters
    ----------
    row : int
        The word.
    position, token : int
        Where in the passage the prediction stands, and which token it is asked about.
    opens : bool
        Whether it is the word's first token: the entropy of that prediction is the word's.
    """

    row: int
    position: int
    token: int
    opens: bool


@dataclass(frozen=True)
class Passage:
    """Tokens that are read together.

    Parameters
    ----------
    ids : list of int
        With the special tokens.
    rows : list of int
        The words whose states are kept.
    positions : list of int arrays
        Where each of them stands in `ids`.
    guesses : list of Guess
    """

    ids: list[int]
    rows: list[int]
    positions: list[np.ndarray]
    guesses: list[Guess]


@dataclass(frozen=True)
class Wanted:
    """What is kept of a model: `layers` (none is fine), how states become a word's (`pool`), and `measures`."""

    layers: tuple[int, ...]
    pool: Pool = "mean"
    measures: tuple[Measure, ...] = ()

    def n_columns(self, width: int) -> int:
        """Numbers per word: the units of all layers, then one per measure."""
        return len(self.layers) * width + len(self.measures)


def passages_of(
    window: Window, text: Text, reader: Reader, wanted: Wanted, place: Mapping[int, int]
) -> Iterator[Passage]:
    """What is read for one window; `place`: which row of the values a row of the samples is.

    A causal model says how likely a token is just before it. A masked one says it where the token is hidden: for each
    token of a word there is a passage of its own in which it and the word's tokens after it are hidden (Kauf & Ivanova
    2023, "PLL-word-l2r").
    """
    before, causal = reader.special.before, reader.model.kind == "causal"
    shift = len(before) - window.start
    ids = [*before, *text.tokens[window.start : window.stop].tolist(), *reader.special.after]
    words = range(window.first, window.last)
    asked: list[list[Guess]] = []
    for word in words if wanted.measures else ():
        row, (begin, opens) = place[int(text.rows[word])], text.scored[word].tolist()
        places = [t for t in range(begin, text.covers[word, 1]) if t >= window.start and t + shift > 0]
        asked.append([Guess(row, t + shift - int(causal), int(text.tokens[t]), t == opens) for t in places])
    kept = {"mean": slice(None), "last": slice(-1, None), "first": slice(0, 1)}[wanted.pool]
    rows = [place[int(text.rows[word])] for word in words]
    next_ones = [guess for guesses in asked for guess in guesses] if causal else []
    if wanted.layers or next_ones:
        yield Passage(ids, rows, [np.arange(*text.covers[word])[kept] + shift for word in words], next_ones)
    mask = reader.special.mask
    if causal or mask is None:
        return
    for guesses in asked:
        for k, guess in enumerate(guesses):
            hidden = list(ids)
            for later in guesses[k:]:
                hidden[later.position] = mask
            yield Passage(hidden, [], [], [guess])


def read(passages: Sequence[Passage], reader: Reader, wanted: Wanted, values: np.ndarray) -> None:
    """Fill in what passages say of their words.

    Parameters
    ----------
    passages : list of Passage
    reader : Reader
    wanted : Wanted
    values : (n_rows, n_columns) float32
        Zero before. Filled in are the rows that passages name: the states of each layer, then the measures.
    """
    whole = bool(wanted.measures) and not reader.head_alone
    numbers = reader.n_states * reader.width + whole * reader.vocabulary
    in_batches(
        [len(passage.ids) for passage in passages],
        reader.model.network,
        numbers,
        lambda some: _read_batch([passages[k] for k in some], reader, wanted, values),
    )


def _read_batch(batch: list[Passage], reader: Reader, wanted: Wanted, values: np.ndarray) -> None:
    guesses = [(k, guess) for k, passage in enumerate(batch) for guess in passage.guesses]
    whole = bool(guesses) and not reader.head_alone
    states, logits = forward(reader.model, [passage.ids for passage in batch], reader.special.pad, whole)
    rows = [row for passage in batch for row in passage.rows]
    if rows:
        longest = states[0].shape[1]
        places = [at + k * longest for k, passage in enumerate(batch) for at in passage.positions]
        for place, layer in enumerate(wanted.layers):
            flat = states[layer].reshape(-1, reader.width)
            values[rows, place * reader.width : (place + 1) * reader.width] = _means(flat, places)
    if guesses:
        head = (lambda chosen: chosen) if whole else reader.model.network.get_output_embeddings()
        measured = values[:, len(wanted.layers) * reader.width :]
        _score(guesses, logits if whole else states[-1], head, reader.vocabulary, wanted.measures, measured)


def _means(flat: Any, places: list[np.ndarray]) -> np.ndarray:
    """(n_words, width): the mean over each word's places of flat (n_places, width)."""
    counts = np.array([len(at) for at in places])
    chosen = flat[np.concatenate(places)].float().cpu().numpy()
    return np.add.reduceat(chosen, np.cumsum(counts) - counts, axis=0) / counts[:, None].astype(np.float32)


def _score(
    guesses: list[tuple[int, Guess]],
    source: Any,
    head: Callable[[Any], Any],
    vocabulary: int,
    measures: Sequence[Measure],
    values: np.ndarray,
) -> None:
    """Add to values (n_rows, n_measures) what `source` (n_texts, longest, ..), seen by the head, says of guesses."""
    import torch

    flat = source.reshape(-1, source.shape[-1])
    size = max(1, LOGITS_BYTES // (8 * vocabulary))
    log_probability, entropy = (np.empty(len(guesses)) for _ in range(2))
    for begin in range(0, len(guesses), size):
        some = guesses[begin : begin + size]
        places = torch.tensor([k * source.shape[1] + guess.position for k, guess in some], device=flat.device)
        tokens = torch.tensor([guess.token for _, guess in some], device=flat.device)
        with torch.inference_mode():
            log_p = head(flat[places]).float().log_softmax(-1)
            log_probability[begin : begin + size] = log_p.gather(1, tokens[:, None])[:, 0].cpu().numpy()
            if "entropy" in measures:
                entropy[begin : begin + size] = torch.special.entr(log_p.exp()).sum(-1).cpu().numpy()
    # added once all are there: a batch that did not fit is tried again
    rows = np.array([guess.row for _, guess in guesses])
    opens = np.array([guess.opens for _, guess in guesses])
    for column, measure in enumerate(measures):
        if measure == "entropy":
            values[rows[opens], column] = entropy[opens] / LOG_2
        else:
            np.add.at(values[:, column], rows, log_probability * UNIT[measure])
