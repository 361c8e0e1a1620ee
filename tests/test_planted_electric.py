"""One response, planted in voltages on a real transcript and written in every format a lab records: lags, gains and
ceilings are found in all of them alike, and nothing where nothing is."""

import os
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import fft, stats
from scipy.ndimage import gaussian_filter1d

import brainalign as ba
from brainalign.encoding import ceilings

DATA = Path(os.environ.get("BRAINALIGN_TEST_DATA", Path(__file__).parents[2] / "shared" / "data"))

FS, RATE, MAINS = 400.0, 100.0, 60.0  # Hz
PEOPLE, RUNS, CHANNELS = ("01", "02"), ("1", "2"), 64  # everybody hears the story twice
BEGIN = {("01", "1"): 2.0, ("01", "2"): 3.17, ("02", "1"): 5.253, ("02", "2"): 1.4}  # s of a recording before it
BUMP = 0.2  # s, how long a response to a word is: half as high for a tenth of a second
CARRIER, SHARED = 1.5, 0.8  # µV from 60 to 165 Hz: what is stronger and weaker with words, and what every channel has
AMPLIFIER = 3200.0  # µV, what it can measure at most
STEP = 0.1  # µV, of EDF's whole numbers
WIDTH, MIDDLE = 165 - 60, np.sqrt(70 * 150)  # Hz, of the carrier, and of what is read of it
BLUR = 1 / (2 * np.pi * 0.39 * np.sqrt(MIDDLE) * np.sqrt(2))  # s: the power response of high-gamma's sub-bands
FEATURES = ["length", "sense"]
QUIET = ba.Chance(permutations=0, bootstrap=0)


@dataclass(frozen=True)
class Planted:
    """What was planted, and what of it is left for a perfect model to find.

    words : onset (s of the story), duration, word, and the two numbers of each that channels follow
    table : one row per channel: subject, channel, follows, lag (s), gain, noise (µV), bad
    volts : (person, run) → (samples, channels) V
    strength : (person, run) → (samples, channels) the carrier's amplitude at each moment, 1 on average
    """

    words: pd.DataFrame
    table: pd.DataFrame
    volts: dict
    strength: dict

    def of(self, person):
        return self.table[self.table["subject"] == person].reset_index(drop=True)

    def events(self, person, run):
        words = self.words[["onset", "duration", "word"]]
        return words.assign(onset=(words["onset"] + BEGIN[person, run]).round(4))

    def write(self, tree, extension):
        for (person, run), volts in self.volts.items():
            table, pulses = self.of(person), 5e-6 * (np.arange(len(volts)) % FS == 0)
            names = [*table["channel"], "TRIG"]
            status = [*np.where(table["bad"], "bad", "good"), "good"]
            kinds = ["SEEG"] * CHANNELS + ["TRIG"]
            place = {"run": run, "subject": person, "task": "podcast"}
            tree.write(extension, np.column_stack([volts, pulses]), names, line=MAINS, **place)
            stem = f"task-podcast_run-{run}"
            tree.table(f"{stem}_channels.tsv", {"name": names, "type": kinds, "status": status}, subject=person)
            tree.table(f"{stem}_events.tsv", self.events(person, run), subject=person)
        return tree.root

    def expected(self, brain, shared=SHARED, blur=BLUR):
        """A recording as it would be without chance: the amplitude of Gaussian noise whose power at each moment is
        known, relative to its mean.

        shared : µV that every channel measures alike; blur : s, what filters spread power over
        """
        person = brain.columns["subject"].iloc[0]
        table, runs = self.of(person), []
        beside = 2 * table["noise"].to_numpy() ** 2 / MIDDLE**3 * WIDTH + shared**2  # as dense as at the band's middle
        for run in brain.runs:
            power = self.strength[person, run][:: round(FS / RATE)].astype(float) ** 2
            amplitude = np.sqrt(gaussian_filter1d(power, blur * RATE, axis=0) + beside / CARRIER**2)
            runs.append(amplitude / amplitude.mean(0))
        here = table["channel"].isin(brain.columns["channel"]).to_numpy()
        return replace(brain, values=np.concatenate(runs)[:, here])

    def story(self, brain):
        """What is told on a person's clock: of each feature the words' bumps, as high-gamma would show them at once."""
        person, told = brain.columns["subject"].iloc[0], []
        for run in brain.runs:
            onset, n = self.words["onset"].to_numpy() + BEGIN[person, run], len(self.strength[person, run])
            both = np.stack([bumps(onset, self.words[name].to_numpy(), n) for name in FEATURES], axis=1)
            told.append(gaussian_filter1d(both, BLUR * FS, axis=0)[:: round(FS / RATE)])
        columns = pd.DataFrame({"subject": person, "channel": FEATURES})
        return replace(brain, values=np.concatenate(told), columns=columns)


@pytest.fixture(scope="module")
def words():
    path = DATA / "speech-transcripts/podcast_monkey_words_512hz.csv"
    if not path.is_file():
        pytest.skip(f"no transcript at {path}: set BRAINALIGN_TEST_DATA")
    spoken = pd.read_csv(path).dropna().sort_values("onset", kind="stable", ignore_index=True)
    onset, duration = (spoken["onset"] - spoken["onset"][0]) / 512, (spoken["offset"] - spoken["onset"]) / 512
    return pd.DataFrame({"onset": onset, "duration": duration.clip(lower=0), "word": spoken["word"]})


@pytest.fixture(scope="module")
def planted(words):
    return plant(words, seconds=120.0, seed=0)


def plant(words, seconds, seed):
    """Recordings of everybody. The second person's responses are weaker, and 200 ms later."""
    rng = np.random.default_rng(seed)
    words = words[words["onset"] < seconds].round(4)
    length = words["word"].str.len()
    flat = rng.uniform(-np.sqrt(3), np.sqrt(3), len(words))
    words = words.assign(length=(length - length.mean()) / length.std(), sense=flat)
    table = pd.concat([_channels(rng, person) for person in PEOPLE], ignore_index=True)
    empty = Planted(words, table, {}, {})
    for person, run in BEGIN:
        n = int(FS * np.ceil(BEGIN[person, run] + seconds + 2 + int(run)))
        empty.strength[person, run] = _strength(empty, person, run, n)
        empty.volts[person, run] = _volts(rng, empty.of(person), empty.strength[person, run])
    return empty


def _channels(rng, person):
    later = PEOPLE.index(person)
    numbers = np.arange(CHANNELS)
    table = pd.DataFrame(
        {"subject": person, "channel": [f"{'LR'[later]}{'ABCD'[k // 16]}{k % 16 + 1}" for k in numbers]}
    )
    table["follows"] = np.where(numbers % 8 == 5, "", np.array(FEATURES)[numbers % 2])
    table["lag"] = (rng.integers(-20, 41, CHANNELS) + 20 * later) / 100
    table["gain"] = np.where(table["follows"] == "", 0.0, rng.uniform(0.25, 0.4, CHANNELS) * (1 - 0.3 * later))
    table["noise"] = rng.uniform(20, 60, CHANNELS)
    return table.assign(bad=numbers == 20 + later)


def _strength(planted, person, run, n):
    """(n, channels) float32: words' bumps at each channel's lag, never below a twentieth."""
    onset = planted.words["onset"].to_numpy() + BEGIN[person, run]
    out = np.ones((n, CHANNELS), np.float32)
    for k, channel in planted.of(person).iterrows():
        if channel["follows"]:
            height = channel["gain"] * planted.words[channel["follows"]].to_numpy()
            out[:, k] += bumps(onset + channel["lag"], height, n)
    return np.maximum(out, 0.05)


def bumps(middle, height, n):
    """(n,) the sum of bumps in the middle of which is a time in s, each of its height."""
    at = np.ceil((middle - BUMP / 2) * FS).astype(int)[:, None] + np.arange(int(BUMP * FS))
    shape = 0.5 + 0.5 * np.cos(2 * np.pi * (at / FS - middle[:, None]) / BUMP)
    return np.bincount(at.ravel(), (shape * height[:, None]).ravel(), minlength=n)[:n]


def _volts(rng, table, strength):
    """What is slow, the carrier, what the reference measured, the mains; and a channel that measures nothing."""
    n = len(strength)
    micro = table["noise"].to_numpy(np.float32) * _noise(rng, n, CHANNELS, lambda hz: hz**-1.5, 1, FS / 2)
    micro += np.float32(CARRIER) * strength * _noise(rng, n, CHANNELS, np.ones_like, 60, 165)
    mains = sum(a * np.sin(2 * np.pi * k * MAINS * np.arange(n) / FS + k) for k, a in ((1, 20), (2, 5), (3, 3)))
    micro += SHARED * _noise(rng, n, 1, np.ones_like, 60, 165) + mains[:, None].astype(np.float32)
    micro[:, table["bad"]] = np.clip(1e4 * rng.standard_normal((n, 1)), -AMPLIFIER, AMPLIFIER)
    return micro * 1e-6


def _noise(rng, n, columns, spectrum, low, high):
    """(n, columns) float32 Gaussian noise of an amplitude spectrum between two frequencies, SD 1."""
    size = fft.next_fast_len(n, real=True)
    hz = fft.rfftfreq(size, 1 / FS)
    gain = np.where((hz >= low) & (hz <= high), spectrum(np.maximum(hz, low)), 0).astype(np.float32)
    drawn = rng.standard_normal((columns, len(hz), 2), dtype=np.float32).view(np.complex64)[..., 0]
    made = fft.irfft(drawn * gain, size, axis=1)[:, :n].T
    return made / made.std(0)


FORMATS = [".fif", ".edf", ".vhdr"]


@pytest.fixture(scope="module")
def root(planted, electric_at, tmp_path_factory):
    """A format → the tree in it."""
    made = {}

    def root_of(extension):
        if extension not in made:
            made[extension] = planted.write(electric_at(tmp_path_factory.mktemp("electric"), FS), extension)
        return made[extension]

    return root_of


def everybody(root, **how):
    """High-gamma, or what is asked for, of the two people, who are on clocks of their own."""
    brains = ba.read_ieeg(root, task="podcast", rate=RATE, **how)
    return brains if isinstance(brains, list) else [brains]


def windows(root, brains, start=-0.25, stop=0.65, step=1 / RATE):
    """Everybody's recordings cut around the words, as events.tsv says when each of them heard one."""
    cut = partial(ba.epochs, start=start, stop=stop, step=step, window=0.1)
    met = [ba.label_repeats(ba.read_events(root, subject=brain.columns["subject"].iloc[0])) for brain in brains]
    return ba.join_events(*(cut(brain, words) for brain, words in zip(brains, met, strict=True)))


def design(planted, Y):
    """The two numbers of each word, as often as the story was told: each is a band."""
    values = np.tile(planted.words[FEATURES].to_numpy(), (len(RUNS), 1))
    return ba.Signal(values, Y.samples, pd.DataFrame({"band": FEATURES}))


def fitted(planted, Y, **how):
    how = {"X": design(planted, Y), "ceiling": ceilings.none, "chance": QUIET, "weights": False} | how
    return ba.encode(Y=Y, folds=ba.contiguous(3, gap_s=2.0), inner=3, **how)


def beside(table, planted):
    """A table of channels with what was planted in each, in the order it came."""
    return table.merge(planted.table, on=["subject", "channel"], how="left", suffixes=("", "_planted"))


def at_planted(planted, Y):
    """Of each channel the windows at its lag."""
    place = beside(Y.columns, planted)["lag_planted"]
    return Y.select(columns=np.flatnonzero((Y.columns["lag"] - place).abs() < 1e-6))


def least_squares(X, Y):
    return np.linalg.lstsq(X - X.mean(0), Y - Y.mean(0), rcond=None)[0]


def correlation(a, b):
    a, b = a - a.mean(0), b - b.mean(0)
    return (a * b).sum(0) / np.sqrt((a**2).sum(0) * (b**2).sum(0))


@dataclass(frozen=True)
class Found:
    """What comes out at the planted lags, of the channels that carry something.

    table : what was planted in each
    scores : of the fit
    weights : (features, channels)
    still : (words, channels) the windows without chance
    truth : (channels,) what a model reaches that knows all but chance
    """

    table: pd.DataFrame
    scores: pd.DataFrame
    weights: np.ndarray
    still: np.ndarray
    truth: np.ndarray

    def of(self, person):
        return (self.table["subject"] == person).to_numpy()


def without_chance(planted, root, brains, **how):
    """(words, channels) the windows of what was planted, at each channel's lag."""
    return at_planted(planted, windows(root, [planted.expected(brain, **how) for brain in brains])).values


def find(planted, Y, still):
    """Fit the windows of people's recordings at the planted lags."""
    own = at_planted(planted, Y)
    fit = fitted(planted, own, ceiling=ceilings.auto, weights=True)
    table = beside(own.columns, planted)
    there = (table["gain"] > 0).to_numpy()
    truth = correlation(still[:, there], own.values[:, there])
    kept = (one[there].reset_index(drop=True) for one in (table, fit.scores))
    return Found(*kept, fit.weights.values[:, there], still[:, there], truth)


@pytest.fixture(scope="module")
def read(root):
    """A format → everybody's recordings, and the windows around words."""
    known = {}

    def read_from(extension):
        if extension not in known:
            brains = everybody(root(extension))
            known[extension] = brains, windows(root(extension), brains)
        return known[extension]

    return read_from


@pytest.fixture(scope="module")
def found(planted, root, read):
    """A format → what comes out of it."""
    known, still = {}, without_chance(planted, root(".fif"), read(".fif")[0])

    def found_in(extension):
        if extension not in known:
            known[extension] = find(planted, read(extension)[1], still)
        return known[extension]

    return found_in


@pytest.mark.parametrize("extension", FORMATS)
def test_channels_that_are_no_data_are_left_out(planted, read, extension):
    for person, brain in zip(PEOPLE, read(extension)[0], strict=True):
        bad = planted.of(person).query("bad")["channel"].item()
        assert brain.attrs["bad_channels"] == {person: {bad: "bad by channels.tsv"}}
        assert brain.shape[1] == CHANNELS - 1
        assert any("1 channel left out, of type TRIG: TRIG" in note for note in brain.attrs["notes"])
        assert set(brain.attrs["line_noise"].values()) == {MAINS}


def lags_of(planted, Y):
    """What was planted in every channel that carries something, and the lag that was found (`peak`)."""
    return beside(ba.latency(fitted(planted, Y), bootstrap=0), planted).query("gain > 0")


@pytest.mark.parametrize("extension", FORMATS)
def test_lags_are_found_within_one_sample(planted, read, extension):
    """Among all of 91 lags in one format; in the others among those within a tenth of a second."""
    _, Y = read(extension)
    if extension != ".fif":
        away = Y.columns["lag"] - beside(Y.columns, planted)["lag_planted"]
        Y = Y.select(columns=np.flatnonzero(away.abs() < 0.1 + 1e-6))
    lags = lags_of(planted, Y)
    off = lags["peak"] - lags["lag"]
    assert (off.abs() < 1 / RATE + 1e-6).all()
    assert (off.groupby(lags["subject"]).mean().abs() < 0.5 / RATE).all()
    first, second = (lags[lags["subject"] == person] for person in PEOPLE)
    later = second["lag"].mean() - first["lag"].mean()
    assert later > 0.1
    assert abs(second["peak"].mean() - first["peak"].mean() - later) < 0.5 / RATE


@pytest.mark.parametrize("extension", FORMATS)
def test_ceilings_are_what_a_perfect_model_reaches(found, extension):
    """On average to 0.03; of single channels they scatter by 0.03, as their standard errors say."""
    one = found(extension)
    off = one.scores["ceiling_r"] - one.truth
    for person in PEOPLE:
        assert abs(off[one.of(person)].mean()) < 0.03
    apart = one.truth[one.of("01")].mean() - one.truth[one.of("02")].mean()
    assert apart > 0.1
    assert 0.02 < off.std() < 0.04
    off /= one.scores["ceiling_se"]
    assert 0.7 < off.std() < 1.2
    assert off.abs().max() < 4


@pytest.mark.parametrize("extension", FORMATS)
def test_scores_and_gains_are_what_was_planted(planted, found, extension):
    """A word's two numbers say all but what its neighbours add, whose bumps reach into its window."""
    one = found(extension)
    X = np.tile(planted.words[FEATURES].to_numpy(), (len(RUNS), 1))
    weights = least_squares(X, one.still)
    known = correlation((X - X.mean(0)) @ weights, one.still)
    off = one.scores["r"] - one.truth * known
    assert abs(off.mean()) < 0.01
    assert off.abs().max() < 0.05

    follows, at = one.table["follows"].map(FEATURES.index).to_numpy(), np.arange(len(one.table))
    assert (one.scores[[f"r2_{name}" for name in FEATURES]].to_numpy().argmax(1) == follows).all()
    gain = pd.Series(one.weights[follows, at] / weights[follows, at])  # ridge and the blur take some of it
    assert (abs(gain.groupby(one.table["subject"]).mean() - 0.97) < 0.03).all()
    assert abs(gain - 0.97).max() < 0.2


def test_a_perfect_model_reaches_the_ceiling(planted, root, read):
    """Its features are the windows of what is told, neighbours and all."""
    brains, Y = read(".fif")
    told = windows(root(".fif"), [planted.story(brains[0])], 0.0, 0.0)
    own = at_planted(planted, Y)
    own = own.select(columns=np.flatnonzero(beside(own.columns, planted)["gain"] > 0))
    X = replace(told, columns=pd.DataFrame({"band": FEATURES}))
    scores = fitted(planted, own, X=X, ceiling=ceilings.auto).scores
    assert abs(scores["r"].mean() / scores["ceiling_r"].mean() - 1) < 0.02


@pytest.mark.parametrize("extension", FORMATS[1:])
def test_every_format_gives_the_same_numbers(read, found, extension):
    """BrainVision holds float32. EDF's whole numbers of 0.1 µV are white noise beside the carrier, as dense as they are
    fine: of that a sub-band's amplitude knows one of two components, and eight sub-bands have their own."""
    density = STEP / np.sqrt(12) / np.sqrt(FS / 2) / (CARRIER / np.sqrt(WIDTH))
    deviation, most, scores = {".edf": (density / np.sqrt(np.pi / 2 * 8), 0.025, 5e-3), ".vhdr": (2e-6, 2e-5, 2e-6)}[
        extension
    ]
    for mine, other in zip(read(extension)[0], read(".fif")[0], strict=True):
        assert mine.columns["channel"].tolist() == other.columns["channel"].tolist()
        apart = mine.values - other.values
        assert apart.std() < deviation
        assert np.abs(apart).max() < most
    mine, other = found(extension).scores, found(".fif").scores
    for name in ("r", "r2", "ceiling_r"):
        np.testing.assert_allclose(mine[name], other[name], atol=scores)
    share = other["normalised_r"]  # a ratio is off by both of its parts
    assert ((mine["normalised_r"] - share).abs() <= scores * (1 + share.abs()) / other["ceiling_r"])[
        share.notna()
    ].all()
    assert mine["normalised_r"].isna().equals(share.isna())


def nothing(planted, Y):
    """The scores of channels that carry nothing, at three lags that share no sample."""
    silent = (beside(Y.columns, planted)["gain"] == 0) & Y.columns["lag"].isin([-0.2, 0.2, 0.6])
    how = {"ceiling": ceilings.auto, "chance": ba.Chance(permutations=99, bootstrap=0)}
    return fitted(planted, Y.select(columns=np.flatnonzero(silent)), **how).scores


def test_channels_that_carry_nothing_score_nothing(planted, read):
    _, Y = read(".fif")
    scores, words = nothing(planted, Y), len(Y.samples)
    n = len(scores)
    assert abs(scores["r"].mean()) < 3 / np.sqrt(words * n)
    assert scores["r"].abs().max() < 3.5 / np.sqrt(words)
    assert (scores["p"] <= 0.05).sum() <= stats.binom.ppf(0.99, n, 0.05)
    assert abs(scores["p"].mean() - 0.5) < 3 / np.sqrt(12 * n)
    assert scores["normalised_r"].notna().sum() <= stats.binom.ppf(0.99, n, 0.05)


def test_what_the_reference_measured_is_gone_with_the_average(planted, root, found):
    """Of the bad channel, a thousand times as large, nothing is in it."""
    brains = everybody(root(".fif"), subject="01", reference=ba.common_average)
    still = without_chance(planted, root(".fif"), brains, shared=0.0)
    one = find(planted, windows(root(".fif"), brains), still)
    assert abs(one.scores["ceiling_r"].mean() - one.truth.mean()) < 0.03
    before = found(".fif")
    assert one.truth.mean() - before.truth[before.of("01")].mean() > 0.05
    assert one.scores["ceiling_r"].mean() - before.scores["ceiling_r"][before.of("01")].mean() > 0.05


def test_the_ceiling_of_one_band_is_what_theory_says(planted, root):
    """Of Gaussian noise the amplitude varies by 4/π − 1 of its squared mean, and a window of ten samples takes as much
    off that as these are unlike one another: their amplitudes correlate as the noise's squared autocorrelation."""
    brains = everybody(root(".fif"), subject="02", band=ba.band(70, 150))
    still = without_chance(planted, root(".fif"), brains, blur=0.005)
    one = find(planted, windows(root(".fif"), brains), still)
    hz, delay = np.arange(60, 165, 0.5), np.arange(-9, 10) / RATE
    power = (1 + ((hz**2 - 70 * 150) / (hz * (150 - 70))) ** 8) ** -2.0  # Butterworth of order 4, there and back
    alike = np.abs((power * np.exp(2j * np.pi * hz * delay[:, None])).sum(1) / power.sum()) ** 2
    noise = (4 / np.pi - 1) * (alike * (1 - np.abs(delay) * RATE / 10)).sum() / 10
    signal = one.still.var(0)
    theory = np.sqrt(signal / (signal + noise * (one.still**2).mean(0)))
    assert abs(one.scores["ceiling_r"].mean() - theory.mean()) < 0.03
    assert abs(one.scores["ceiling_r"].mean() - one.truth.mean()) < 0.03


@pytest.mark.verify
def test_in_every_draw(words, electric_at, tmp_path):
    """Four minutes of the story, five times: of 555 lags, none is off by more than a sample."""
    chance = []
    for seed in range(1, 6):
        planted = plant(words, seconds=240.0, seed=seed)
        root = planted.write(electric_at(tmp_path / str(seed), FS), ".fif")
        brains = everybody(root)
        Y = windows(root, brains)
        lags = lags_of(planted, Y)
        one = find(planted, Y, without_chance(planted, root, brains))
        off = one.scores["ceiling_r"] - one.truth
        chance.append(nothing(planted, Y)["p"])
        assert ((lags["peak"] - lags["lag"]).abs() < 1 / RATE + 1e-6).all()
        for person in PEOPLE:
            assert abs(off[one.of(person)].mean()) < 0.03
    p = np.concatenate(chance)
    assert (p <= 0.05).sum() <= stats.binom.ppf(0.99, len(p), 0.05)
    assert abs(p.mean() - 0.5) < 3 / np.sqrt(12 * len(p))
