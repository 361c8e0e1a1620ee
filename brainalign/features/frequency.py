"""How often is a word met in its language?"""

from __future__ import annotations

import re

import numpy as np
import pandas as pd

from brainalign.errors import SettingsError, did_you_mean, need_package
from brainalign.features.samples import samples_of
from brainalign.features.spellings import CLITICS, missing_words, without_punctuation
from brainalign.provenance import versions
from brainalign.signals import Signal


def word_frequency(words: pd.DataFrame, language: str = "en", name: str = "word_frequency") -> Signal:
    """How frequent each word is in its language, on the Zipf scale: log10 of how often it comes in a billion words.

    Parameters
    ----------
    words : DataFrame
        `run`, `onset` (s), `word`, and `duration` (s) where known; onsets never fall within a run.
    language : str
        The code of one of wordfreq's lists: "en", "de", "fr", "zh" …
    name : str
        The band.

    Returns
    -------
    Signal
        (n_words, 1), Zipf: 3 is once in a million words, "the" has 7.7 in English; samples are the words (`run`, `time`
        = onset, `duration`, `stimulus` = the word). ``attrs["features"][name]["out_of_vocabulary"]`` says of the words
        that are not in the list how many (`count`), which share of all (`share`) and which (`words`) they are.

    Raises
    ------
    InputError
        No words; a missing column, onset or word; onsets that fall within a run.
    SettingsError
        The extra `words` is not installed, or wordfreq has no list of that language.

    Notes
    -----
    Case and marks around a word make no difference. Several words in one ("rabbit-hole") and numbers get wordfreq's
    estimate from their parts. A clitic that stands for itself ("n't", "'s" … in English) is as frequent as all listed
    words that end in it together: the list has "don't" and "it's", not what was cut off them.
    A word that is not in the list, and a mark that is no word, gets the frequency of the rarest words of the list (in
    English 1.01, once in a hundred million): it is at most as frequent as they are.

    References
    ----------
    van Heuven, W. J. B., Mandera, P., Keuleers, E., & Brysbaert, M. (2014). SUBTLEX-UK: A new and improved word
    frequency database for British English. *Quarterly Journal of Experimental Psychology*, 67, 1176-1190.
    Speer, R. (2022). rspeer/wordfreq: v3.0. Zenodo. doi:10.5281/zenodo.7199437

    Examples
    --------
    >>> words = pd.DataFrame({"run": "1", "onset": [0.1, 0.6, 0.9], "word": ["the", "White", "Rabbit."]})
    >>> word_frequency(words).values.round(1).tolist() == np.float32([[7.7], [5.5], [4.0]]).tolist()
    True
    """
    samples = samples_of(words, "word")
    need_package("wordfreq", extra="words", what="word_frequency")
    import wordfreq

    known = sorted(wordfreq.available_languages())
    if language not in known:
        stem = re.split("[-_]", language.lower())[0]
        raise SettingsError(f"wordfreq has no list of the language {language!r}; {did_you_mean(stem, known)}")
    clitics = _clitics() if language == "en" else {}
    try:
        zipf = {
            word: clitics.get(without_punctuation(word).lower()) or wordfreq.zipf_frequency(word, language)
            for word in samples["stimulus"].unique()
        }
    except ImportError as error:  # Chinese, Japanese and Korean are cut into words first
        raise SettingsError(
            f"wordfreq needs {error.name} for the language {language!r}: run `pip install 'wordfreq[cjk]'`"
        ) from error
    values = samples["stimulus"].map(zipf).to_numpy(float)
    rarest = wordfreq.cB_to_zipf(1 - len(wordfreq.get_frequency_list(language)))
    about = {
        "kind": "word_frequency",
        "language": language,
        "source": f"wordfreq {versions('wordfreq')['wordfreq']}",
        "out_of_vocabulary": missing_words(samples["stimulus"].tolist(), values == 0),
    }
    columns = pd.DataFrame({"band": [name]})
    return Signal(np.maximum(values, rarest)[:, None], samples, columns, attrs={"features": {name: about}})


def _clitics() -> dict[str, float]:
    """Zipf of each English clitic: of all listed words that end in it together."""
    import wordfreq

    total = dict.fromkeys(CLITICS, 0.0)
    for word, frequency in wordfreq.get_frequency_dict("en").items():
        if "'" in word:
            for clitic in CLITICS:
                total[clitic] += frequency * word.endswith(clitic)
    return {clitic: wordfreq.freq_to_zipf(frequency) for clitic, frequency in total.items()}
