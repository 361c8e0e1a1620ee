"""How fast are words read in context, and does memory grow with the text?

python benchmarks/words.py speed      shared windows, exact windows, and one forward pass per word, in turns
python benchmarks/words.py memory     5,000 and 100,000 words into a store, each in a process of its own
python benchmarks/words.py precision  how far float16 and bfloat16 are from float32, layer by layer

All layers of smollm2-135m, context 256, one thread; the 5,112 words of the podcast story (BRAINALIGN_TEST_DATA). One
pass per word is timed on words spread over the story, all of which have a whole context, and counted for all of it.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
from measure import RESULTS, facts, own_bytes, save_json, today

MODEL, CONTEXT, NAIVE, ROUNDS = "smollm2-135m", 256, 300, 5
DATA = Path(os.environ.get("BRAINALIGN_TEST_DATA", Path(__file__).parents[2] / "shared/data"))


def podcast():
    """The story's words, onsets in seconds."""
    table = pd.read_csv(DATA / "speech-transcripts/podcast_monkey_words_512hz.csv", keep_default_na=False)
    table = table.sort_values("onset", kind="stable")  # two people speak at once here and there
    return pd.DataFrame({"run": "1", "onset": table["onset"].to_numpy() / 512, "word": table["word"].to_list()})


class Naive:
    """One forward pass per word, as one writes it down: the whole model, or (`states_only`) without its predictions."""

    def __init__(self, words):
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer

        from brainalign.features.models import model_folder

        folder = model_folder(MODEL)
        self.model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
        tokenizer = AutoTokenizer.from_pretrained(folder)
        text = " ".join(words["word"])
        read = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True, verbose=False)
        self.ids, self.sink = read["input_ids"], tokenizer.bos_token_id
        ends = np.array(read["offset_mapping"])[:, 1]
        self.stops = np.searchsorted(ends, np.cumsum([len(word) + 1 for word in words["word"]]) - 1) + 1

    def read(self, rows, states_only):
        """Seconds."""
        import torch

        began = time.perf_counter()
        for row in rows:
            stop = int(self.stops[row])
            seen = torch.tensor([[self.sink, *self.ids[max(0, stop - CONTEXT) : stop]]])
            with torch.inference_mode():
                model = self.model.base_model if states_only else self.model
                states = model(input_ids=seen, output_hidden_states=True).hidden_states
            np.stack([state[0, -1].numpy() for state in states])
        return time.perf_counter() - began


def speed():
    """Everything in one process, in turns; medians over the rounds."""
    import torch

    from brainalign.features.words import embed_words

    torch.set_num_threads(1)
    words = podcast()
    naive = Naive(words)
    first = int(np.searchsorted(naive.stops, CONTEXT)) + 1
    chosen = np.linspace(first, len(words) - 1, NAIVE).astype(int).reshape(ROUNDS, -1, order="F")
    # for exact windows words in a row; what it takes to load the model and read what comes before them is taken off
    stretch = NAIVE // ROUNDS
    found = {name: [] for name in ("whole", "states", "exact", "shared")}
    for k, rows in enumerate(chosen):
        found["whole"].append(naive.read(rows, states_only=False) / len(rows))
        found["states"].append(naive.read(rows, states_only=True) / len(rows))
        opening = timed(lambda: embed_words(words.iloc[:first], MODEL, context=CONTEXT, exact=True))
        more = timed(lambda: embed_words(words.iloc[: first + stretch], MODEL, context=CONTEXT, exact=True))
        found["exact"].append((more - opening) / stretch)
        if k % 2 == 0:
            found["shared"].append(timed(lambda: embed_words(words, MODEL, context=CONTEXT)) / len(words))
        sys.stdout.write(f"round {k + 1}: " + ", ".join(f"{n} {1e3 * v[-1]:.1f} ms" for n, v in found.items()) + "\n")
        sys.stdout.flush()
    per_word = {name: float(np.median(seconds)) for name, seconds in found.items()}
    ratios = {
        "shared / one pass per word": per_word["whole"] / per_word["shared"],
        "shared / one pass per word, states only": per_word["states"] / per_word["shared"],
        "exact / one pass per word": per_word["whole"] / per_word["exact"],
        "exact / one pass per word, states only": per_word["states"] / per_word["exact"],
    }
    return {"words": len(words), "seconds_per_word": per_word, "rounds": found, "ratios": ratios}


def timed(function):
    """Seconds."""
    began = time.perf_counter()
    function()
    return time.perf_counter() - began


def one_memory(n):
    """Bytes at the peak of a process that reads n words into a store: of its own, and with mapped files counted."""
    from brainalign.features.words import embed_words
    from brainalign.store import Store

    story = podcast()
    words = pd.concat([story] * (n // len(story) + 1), ignore_index=True).iloc[:n]
    words["onset"] = np.arange(n) / 3.0
    with tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR")) as folder, own_bytes() as most:
        began = time.perf_counter()
        shape = embed_words(words, MODEL, context=CONTEXT, store=Store(folder)).shape
        seconds = time.perf_counter() - began
    return {"shape": shape, "own_bytes": most[0], "seconds": seconds}


def memory():
    """Weights aside: they are the same for any text."""
    from brainalign.features.models import model_folder

    weights = 2 * (model_folder(MODEL) / "model.safetensors").stat().st_size  # kept in 16 bits, read in 32
    found = {}
    for n in (5_000, 100_000):
        command = [sys.executable, __file__, "--memory", str(n)]
        found[n] = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)
        sys.stdout.write(f"{n} words: {(found[n]['own_bytes'] - weights) / 1e6:.0f} MB, {found[n]['seconds']:.0f} s\n")
    ratio = (found[100_000]["own_bytes"] - weights) / (found[5_000]["own_bytes"] - weights)
    return {"weights_bytes": weights, "found": found, "ratio": ratio}


def precision():
    """The largest and the median ‖Δ‖/‖h‖ over 500 words, per layer."""
    from brainalign.features.words import embed_words

    words = podcast().iloc[:500]
    full = embed_words(words, MODEL, context=CONTEXT).array().reshape(len(words), 31, -1)
    found = {}
    for dtype in ("float16", "bfloat16"):
        half = embed_words(words, MODEL, context=CONTEXT, dtype=dtype).array().reshape(full.shape)
        off = np.linalg.norm(half - full, axis=2) / np.linalg.norm(full, axis=2)
        found[dtype] = {"median": np.median(off, 0).tolist(), "largest": off.max(0).tolist()}
        sys.stdout.write(f"{dtype}: median {np.median(off):.2g}, largest {off.max():.2g}\n")
    return found


def main():
    jobs = {"speed": speed, "memory": memory, "precision": precision}
    which = sys.argv[1] if len(sys.argv) > 1 else "speed"
    found = jobs[which]()
    sys.stdout.write(json.dumps(found.get("ratios", found.get("ratio", "")), indent=1) + "\n")
    about = {"model": MODEL, "context": CONTEXT, "machine": facts(), "day": today()}
    save_json(RESULTS / f"words-{which}.json", {**about, **found})


if __name__ == "__main__":
    if "--memory" in sys.argv:
        sys.stdout.write(json.dumps(one_memory(int(sys.argv[2]))))
    else:
        main()
