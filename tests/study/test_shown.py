"""Pictures, films and sounds in a study: planted causes are found again, from the files on."""

import json

import numpy as np
import pandas as pd
import pytest
import yaml

from brainalign.store import Store
from brainalign.study.run import check_study, run_study
from brainalign.study.settings import read_study

pytest.importorskip("PIL")
soundfile = pytest.importorskip("soundfile")

VOLUMES, TR, LAG = 240, 1.0, 2  # s, volumes
RATE = 4000  # of the sounds, Hz
STEP = 0.05  # s, of the truth


def held(onsets, durations, values):
    """The mean over each volume of what is held from each onset on, by adding up in small steps."""
    fine = np.arange(-TR / 2, VOLUMES * TR - TR / 2, STEP) + STEP / 2
    now = np.zeros(len(fine))
    for onset, duration, value in zip(onsets, durations, values):
        now[(fine >= onset) & (fine < onset + duration)] = value
    return now.reshape(VOLUMES, -1).mean(1)


def record(root, causes, seed=0, noise=0.5):
    """A region per cause, which follows it two volumes later."""
    rng = np.random.default_rng(seed)
    table = {}
    for name, cause in causes.items():
        late = np.r_[np.zeros(LAG), cause[:-LAG]]
        table[name] = 100 + (late - late.mean()) / late.std() + noise * rng.standard_normal(VOLUMES)
    folder = root / "derivatives/rois/sub-01/func"
    folder.mkdir(parents=True)
    (root / "dataset_description.json").write_text(json.dumps({"Name": "shown", "BIDSVersion": "1.10.0"}))
    place = folder / "sub-01_task-show_atlas-two_timeseries"
    pd.DataFrame(table).to_csv(place.with_suffix(".tsv"), sep="\t", index=False)
    place.with_suffix(".json").write_text(json.dumps({"RepetitionTime": TR, "StartTime": 0.0}))


def noise_of(amplitudes, seconds, rng):
    """Noise whose amplitude changes every so many seconds."""
    return np.repeat(amplitudes, round(seconds * RATE)) * rng.uniform(-1, 1, len(amplitudes) * round(seconds * RATE))


def grey(value, spread, rng):
    """A picture of a mean luminance and a spread about it, in linear light, which sRGB then bends."""
    light = np.clip(value + spread * rng.choice([-1, 1], (16, 16)), 0, 1)
    bent = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    return np.rint(255 * bent).astype(np.uint8)


def study_file(folder, features, **sections):
    content = {
        "data": {"bids": "tree", "task": "show"},
        "features": features,
        "design": {"delays_volumes": [2, 3]},
        "encoding": {"folds": {"by": "contiguous", "n": 4, "gap_s": 4, "inner": 2}},
        "ceiling": {"kind": "none"},
        "inference": {"permutations": 0, "bootstrap": 0},
        "partition": {"unique": False},
        "output": "out",
    } | sections
    (folder / "study.yaml").write_text(yaml.safe_dump(content))
    return read_study(folder / "study.yaml")


@pytest.fixture
def shown(tmp_path):
    """Pictures one after the other, and sounds beside them; what is seen has nothing to do with what is heard."""
    from PIL import Image

    rng = np.random.default_rng(1)
    stimuli = tmp_path / "tree/stimuli"
    stimuli.mkdir(parents=True)
    pictures = {f"p{k}.png": (rng.uniform(0.2, 0.8), rng.uniform(0.02, 0.2)) for k in range(30)}
    for name, (value, spread) in pictures.items():
        Image.fromarray(grey(value, spread, rng)).save(stimuli / name)
    loud = {f"s{k}.wav": rng.uniform(0.05, 0.9) for k in range(20)}
    for name, amplitude in loud.items():
        soundfile.write(stimuli / name, noise_of([amplitude], 3.0, rng), RATE)
    seen = pd.DataFrame({"duration": rng.choice([1.5, 2.5, 4.0], 90), "stim_file": rng.choice(list(pictures), 90)})
    seen["onset"] = seen["duration"].cumsum() - seen["duration"]
    heard = pd.DataFrame({"onset": np.arange(77) * 3.1, "duration": 3.0, "stim_file": rng.choice(list(loud), 77)})
    seen = seen[seen["onset"] < VOLUMES * TR - 5]
    events = pd.concat([seen, heard, pd.DataFrame({"onset": [7.0], "duration": 0.0})]).sort_values("onset")
    events[["onset", "duration", "stim_file"]].to_csv(
        tmp_path / "tree/task-show_events.tsv", sep="\t", index=False, na_rep="n/a"
    )
    light = held(seen["onset"], seen["duration"], [pictures[name][0] for name in seen["stim_file"]])
    sound = held(heard["onset"], heard["duration"], [loud[name] for name in heard["stim_file"]])
    record(tmp_path / "tree", {"eye": light, "ear": sound})
    return tmp_path


BANDS = [
    {"name": "light", "kind": "luminance"},
    {"name": "spread", "kind": "contrast"},
    {"name": "loudness", "kind": "envelope", "rate": 20},
]


def test_pictures_and_sounds_that_events_name(shown):
    study = study_file(shown, BANDS)
    assert check_study(study) == []
    fit = run_study(study, Store(shown / "cache"))
    scores = fit.scores.set_index("roi")
    print(scores.T)
