"""How is any stretch of a long sound had, at any rate, in little memory?"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from brainalign.errors import InputError, need_package
from brainalign.features.sounds import Clip


class Tape:
    """A sound to be gone along from its beginning, of which no more is in memory than is asked for at a time.

    Parameters
    ----------
    clip : Clip
        What was heard.
    rate : float, optional
        Samples per second (Hz) that are wanted; default the sound's own. Another is had by band-limited interpolation
        of linear phase (soxr, its "HQ"); what comes of it does not depend on how the sound is cut into stretches.

    Examples
    --------
    >>> from brainalign.features.sounds import sounds_of
    >>> (clip,) = sounds_of((np.arange(4.0) / 8, 8_000)).clips
    >>> Tape(clip).read(-1, 6).tolist()
    [0.0, 0.0, 0.125, 0.25, 0.375, 0.0, 0.0]
    """

    def __init__(self, clip: Clip, rate: float | None = None) -> None:
        self.clip = clip
        self.rate = clip.rate if rate is None else float(rate)
        self._rewind()

    def read(self, start: int, stop: int) -> np.ndarray:
        """(stop − start,) float32: the samples from `start` to `stop`; before its beginning and behind its end, zeros.

        Reading on is quick. To read what is no longer in memory it is read again from its beginning.
        """
        begin = max(0, start)
        if begin < self._begin:
            self._rewind()
        while not self._ended and self._begin + len(self._held) < stop:
            block = next(self._blocks, None)
            if block is None:
                self._ended = True
                break
            past = max(0, min(begin - self._begin, len(self._held)))
            self._held = np.concatenate([self._held[past:], block])
            self._begin += past
        out = np.zeros(stop - start, np.float32)
        found = self._held[begin - self._begin : max(0, stop - self._begin)]
        out[begin - start : begin - start + len(found)] = found
        return out

    def _rewind(self) -> None:
        self._held, self._begin, self._ended = np.zeros(0, np.float32), 0, False
        self._blocks = _mono(self.clip) if self.rate == self.clip.rate else _resampled(self.clip, self.rate)


def _mono(clip: Clip) -> Iterator[np.ndarray]:
    left = clip.n_samples
    for block in clip.source.blocks():
        some = block[:left]
        left -= len(some)
        yield np.ascontiguousarray(some.mean(axis=1) if clip.channel is None else some[:, clip.channel])
        if not left:
            return
    raise InputError(f"{clip.source.name} is shorter than it was a moment ago: it was changed while it was read")


def _resampled(clip: Clip, rate: float) -> Iterator[np.ndarray]:
    need_package("soxr", extra="audio", what="resampling sound")
    import soxr

    stream = soxr.ResampleStream(clip.rate, rate, 1, dtype="float32", quality="HQ")
    for block in _mono(clip):
        yield stream.resample_chunk(block)
    yield stream.resample_chunk(np.zeros(0, np.float32), last=True)
