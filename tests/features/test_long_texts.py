"""A text twenty times as long takes no more memory; what the model finds surprising, brains do too."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from brainalign.features.models import is_here
from brainalign.features.words import embed_words

DATA = Path(os.environ.get("BRAINALIGN_TEST_DATA", Path(__file__).parents[3] / "shared" / "data"))

CODE = """
import json, sys, tempfile, threading
from pathlib import Path
import numpy as np, pandas as pd
from brainalign.features.loading import load
from brainalign.features.models import locate_model
from brainalign.features.words import embed_words
from brainalign.store import Store

n = int(sys.argv[1])
words = pd.DataFrame({"run": "1", "onset": np.arange(n) / 3, "word": np.resize(["Lily", "ran", "away", "and"], n)})
embed_words(words.iloc[:600], model="stories260k", context=64, device="cpu")  # all that is loaded once is loaded

def own():
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * int(next(line for line in lines if line.startswith("RssAnon")).split()[1])

before, most, stop = own(), [0], threading.Event()

def watch():
    while not stop.wait(0.01):
        most[0] = max(most[0], own())

watcher = threading.Thread(target=watch)
watcher.start()
with tempfile.TemporaryDirectory() as folder:
    shape = embed_words(words, model="stories260k", context=64, store=Store(folder), device="cpu").shape
stop.set()
watcher.join()
print(json.dumps({"grown": most[0] - before, "shape": shape}))
"""


@pytest.mark.verify
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from /proc, which is Linux'")
def test_memory_does_not_grow_with_the_text():
    """All layers of 100,000 words are 154 MB; what is looked at is what the process has of its own."""
    grown = {}
    for n in (5_000, 100_000):
        done = subprocess.run([sys.executable, "-c", CODE, str(n)], capture_output=True, text=True, check=True)
        found = json.loads(done.stdout)
        assert found["shape"] == [n, 6 * 64]
        grown[n] = found["grown"]
    print(grown)
    assert grown[100_000] < 1.5 * grown[5_000]


@pytest.mark.verify
@pytest.mark.skipif(not (DATA / "ucl205-erp").is_dir(), reason="the sentences of ucl205-erp are not here")
@pytest.mark.skipif(not is_here("smollm2-135m"), reason="smollm2-135m was not fetched: brainalign models fetch …")
def test_what_surprises_the_model_surprises_the_brain():
    """N400 against surprisal, 1,481 words (de Varda et al. 2023: GPT-2 −.278); a small model of stories less."""
    table = pd.read_csv(DATA / "ucl205-erp" / "all_measures.csv", keep_default_na=False)
    table = table.sort_values(["sent_id", "context_length"], kind="stable")
    place = table.groupby("sent_id").cumcount().astype(float)
    words = pd.DataFrame({"run": table["sent_id"].astype(str), "onset": place, "word": table["word"]})
    kept = ((table["is_start_end"] == 0) & (table["is_multitoken_GPT2"] == 0)).to_numpy()
    assert kept.sum() == 1_481
    amplitude = table["N400"].to_numpy(float)[kept]
    found = {}
    for model in ("smollm2-135m", "stories260k"):
        surprisal = embed_words(words, model=model, context=64, bands=["surprisal"], device="cpu").values[kept, 0]
        found[model] = float(np.corrcoef(surprisal, amplitude)[0, 1])
    print(found)
    assert found["smollm2-135m"] <= -0.20
    assert found["smollm2-135m"] < found["stories260k"] < 0
