"""What would a sentence encoder make of the names that a network gives a picture?

ConSE (Norouzi et al. 2014, https://arxiv.org/abs/1312.5650) puts pictures among sentences without having seen a pair of
them: a picture is where the names of its likeliest classes are, each weighted by its probability,

    f(x) = Σ_t p(c_t | x) s(c_t) / Σ_t p(c_t | x),    t = 1, …, T,

with the T likeliest classes c_t of a network that was trained to name pictures, and s the embedding of a name. It knows
what the classes can say, ImageNet's 1,000 objects and animals: no persons, actions, relations or scenes. It is not
CLIP, which learns one space from pictures and their captions, and is weaker.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from brainalign.errors import InputError, SettingsError
from brainalign.features.describing import Describer, Unreadable, describe
from brainalign.features.efficientnet import CLASSES, MODEL_TYPE, PACKAGE
from brainalign.features.loading import ResolvedModel
from brainalign.features.models import locate_model, model_files, settled_config
from brainalign.features.pictures import pictures_of
from brainalign.features.pooling import recipe_of
from brainalign.features.preprocessing import preprocessing_of
from brainalign.features.sentences import METHOD as SENTENCES_METHOD
from brainalign.features.sentences import embed_sentences
from brainalign.features.vision import VisionModel, load_vision
from brainalign.progress import Progress, silent
from brainalign.provenance import versions
from brainalign.signals import Signal
from brainalign.store import Store

METHOD = 1  # counts up when the same settings would give other numbers
PROMPT = "a photo of a {}"
BLANK = "{}"


def conse(
    images: Any,
    model: str | Path | ResolvedModel = "efficientnet-lite0",
    sentences: str | Path | ResolvedModel = "minilm-l6",
    top: int = 10,
    *,
    prompt: str = PROMPT,
    classes: Sequence[str] | None = None,
    column: str = "stim_file",
    root: str | Path | None = None,
    unreadable: Unreadable = "error",
    name: str = "conse",
    device: str = "auto",
    store: Store | None = None,
    progress: Progress = silent,
) -> Signal:
    """Where every picture lies among sentences, by the names a network gives it (ConSE).

    Parameters
    ----------
    images : DataFrame, list of paths, array, list of arrays, or Pictures
        As for `pictures_of`; of a film, what `read_film` gives.
    model : str, path or ResolvedModel
        What names pictures: an EfficientNet-Lite, or its untrained twin.
    sentences : str, path or ResolvedModel
        What embeds the names, as `embed_sentences` does it.
    top : int
        T, the number of likeliest classes that are mixed; the paper's best, 10. 1 is the likeliest alone.
    prompt : str
        The sentence a name is put into, at "{}".
    classes : list of str, optional
        The names of the classes, in the order of the network's outputs. Default: those of ImageNet, from the card
        `imagenet-classes`.
    column, root
        As for `pictures_of`.
    unreadable : {"error", "censor"}
        What becomes of a picture that cannot be read: an error that names it, or samples that are NaN and not in use
        (`use` False), named in ``attrs["left_out"]``.
    name : str
        The band.
    device : str
        What torch calls it; "auto" is the first GPU, else the CPU.
    store : Store, optional
        Where the vectors are kept, part by part, and found again for the same pictures, models and settings.
    progress : function (done, total, what), optional
        Told after each part.

    Returns
    -------
    Signal
        (n_pictures, width of a sentence embedding) float32; not divided by its length, which says how much the names
        agree. ``attrs["features"][name]`` tells how it was made.

    Raises
    ------
    InputError
        Pictures that are not there or cannot be read, or another number of classes than the network has outputs.
    SettingsError
        A network that names no classes, a model that was not fetched, an extra that is not installed, a `prompt`
        without "{}", a `top` that is no number of classes.

    Examples
    --------
    The closest of some captions, by cosine, where the models are here::

        seen = ba.conse(pictures).values
        said = ba.embed_sentences(captions).values  # of length 1
        best = (seen @ said.T / np.linalg.norm(seen, axis=1, keepdims=True)).argmax(axis=1)

    What is done with the probabilities, here of three classes whose names are embedded at right angles:

    >>> mix_classes(np.array([[0.6, 0.3, 0.1]]), np.eye(3), top=2).round(2).tolist()
    [[0.67, 0.33, 0.0]]
    """
    sees = model if isinstance(model, ResolvedModel) else locate_model(model, sense="pictures")
    reads = sentences if isinstance(sentences, ResolvedModel) else locate_model(sentences)
    names = _names(sees, classes)
    if not isinstance(prompt, str) or BLANK not in prompt:
        raise SettingsError(f"prompt is a sentence with {BLANK} for the name, such as {PROMPT!r}; found {prompt!r}")
    if isinstance(top, bool) or not isinstance(top, (int, np.integer)) or not 1 <= top <= len(names):
        raise SettingsError(f"top is a number of classes, 1 to {len(names)}; found {top!r}")
    said = [prompt.replace(BLANK, one) for one in names]

    def begin() -> Describer:
        vectors = np.asarray(embed_sentences(said, reads, device=device, store=store).values)
        network = load_vision(sees, device)
        return Describer(vectors.shape[1], lambda batch: mix_classes(_probabilities(network, batch), vectors, int(top)))

    key = {
        "kind": "conse",
        "method": [METHOD, SENTENCES_METHOD],
        "model": sees.revision,
        "preprocessing": preprocessing_of(sees).describe(),
        "sentences": reads.revision,
        "tokenizer": reads.tokenizer,
        "recipe": asdict(recipe_of(reads)),
        "said": said,
        "top": int(top),
        "versions": {package: version.split(".")[0] for package, version in versions("torch", "transformers").items()}
        | versions(PACKAGE),
    }
    pictures = pictures_of(images, column, root)
    described = describe(pictures, begin, key, name, unreadable=unreadable, store=store, progress=progress)
    known = {
        "kind": "conse",
        "model": sees.name,
        "revision": sees.revision,
        "sentences": reads.name,
        "sentences_revision": reads.revision,
        "top": int(top),
        "prompt": prompt,
        "n_classes": len(names),
    }
    width = described.values.shape[1]
    return described.signal(pd.DataFrame({"band": name, "unit": np.arange(width)}), {name: known})


def mix_classes(probabilities: np.ndarray, vectors: np.ndarray, top: int) -> np.ndarray:
    """The vectors of the likeliest classes, each weighted by its share of their probability.

    Parameters
    ----------
    probabilities : (n, n_classes)
    vectors : (n_classes, width)
    top : int
        How many classes of each row; of equally likely ones the first.

    Returns
    -------
    (n, width)

    Examples
    --------
    >>> mix_classes(np.array([[0.25, 0.75]]), np.array([[0.0], [8.0]]), top=2).tolist()
    [[6.0]]
    """
    best = np.argsort(-probabilities, axis=1, kind="stable")[:, :top]
    weights = np.take_along_axis(probabilities, best, axis=1)
    return np.einsum("nt,ntd->nd", weights / weights.sum(axis=1, keepdims=True), vectors[best])


def _probabilities(model: VisionModel, batch: Sequence[np.ndarray]) -> np.ndarray:
    import torch

    pixels = model.prepare(batch)
    with torch.inference_mode():
        return model.network(pixels.to(next(model.network.parameters()).device)).softmax(dim=1).cpu().numpy()


def _names(model: ResolvedModel, classes: Sequence[str] | None) -> list[str]:
    """What the outputs of a network are called; nothing is loaded."""
    config = settled_config(model)
    if config.get("model_type") != MODEL_TYPE:
        raise SettingsError(
            f"model {model.name!r} names no classes: ConSE needs a network that was trained to, 'efficientnet-lite0', "
            "'efficientnet-lite1' or 'efficientnet-lite2'; `embed_images` takes this one"
        )
    if classes is None:
        listed = (model_files("imagenet-classes").folder / "classes.txt").read_bytes().decode()
        names = listed.removesuffix("\n").split("\n")
    else:
        names = [str(one) for one in classes]
    n_outputs = config.get("num_labels", CLASSES)
    if len(names) != n_outputs:
        raise InputError(f"model {model.name!r} has {n_outputs} outputs, and there are {len(names)} names of classes")
    return names
