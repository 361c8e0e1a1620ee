"""How do files that come in another form become what brainalign reads, without a number getting lost?"""

from __future__ import annotations

import io
import json
import re
import shutil
from collections.abc import Callable
from contextlib import redirect_stderr
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from brainalign.errors import InputError, SettingsError
from brainalign.features.loading import quiet_transformers

EXTRAS = {"onnx": "convert", "pyarrow": "convert"}  # everything else is in the extra `language`


def copy_as_is(files: Path, folder: Path) -> None:
    """The files are what is read: a transformers or spaCy folder."""
    shutil.copytree(files, folder)


def convert_gguf(files: Path, folder: Path) -> None:
    """A GGUF language model, whole or in parts, as a transformers folder: float16 safetensors and its tokenizer.

    Quantised weights become the numbers they stand for, rounded to float16 (a relative error of at most 2⁻¹¹).
    """
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    file = joined(files)
    # the reader of GGUF files draws a progress bar that cannot be switched off
    with quiet_transformers(), redirect_stderr(io.StringIO()):
        network = AutoModelForCausalLM.from_pretrained(
            file.parent, gguf_file=file.name, quantization_config=GgufConfig(dequantize=True), local_files_only=True
        ).half()
        tokenizer = AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name, local_files_only=True)
        network.save_pretrained(folder)
        tokenizer.save_pretrained(folder)


def joined(files: Path) -> Path:
    """The parts of a divided file in the order of their names as one; they are gone afterwards."""
    parts = sorted(files.iterdir())
    whole = files / "whole.gguf"
    with whole.open("wb") as target:
        for part in parts:
            with part.open("rb") as content:
                shutil.copyfileobj(content, target)
            part.unlink()
    return whole


def convert_onnx(files: Path, folder: Path) -> None:
    """The weights in an ONNX file as safetensors, beside its other files, which say what it is and how it is used."""
    import onnx
    from safetensors.numpy import save_file

    (file,) = files.glob("*.onnx")
    family = json.loads((files / "config.json").read_text(encoding="utf-8"))["model_type"]
    weights = ONNX_FAMILIES[family](onnx.load(file).graph)
    shutil.copytree(files, folder, ignore=shutil.ignore_patterns("*.onnx"))
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def bert_weights(graph: Any) -> dict[str, np.ndarray]:
    """The tensors of an exported BERT, by the names `transformers.BertModel` has for them.

    Parameters
    ----------
    graph : onnx.GraphProto
        As torch exports a sentence-transformers model: names contain "auto_model".

    Returns
    -------
    dict
        Name → array, (units out, units in) for linear layers.

    Raises
    ------
    InputError
        A tensor has no name, or two have the same.
    """
    found, _ = weights_below(graph, "auto_model")
    if len(found) != len(graph.initializer):
        raise InputError(
            f"the ONNX file holds {len(graph.initializer)} tensors, and names were found for {len(found)}: it is no "
            "BERT as torch exports it from sentence-transformers"
        )
    return found


def dinov2_weights(graph: Any) -> dict[str, np.ndarray]:
    """The tensors of a DINOv2 inside an exported network, by the names it is published with.

    The position embeddings were cut by the export into that of the class token and those of the patches, and are
    joined again. The mask token, which is used in training only, is zero.

    Parameters
    ----------
    graph : onnx.GraphProto
        As torch exports a network whose attribute `backbone` is a `transformers.Dinov2Model`.

    Returns
    -------
    dict
        Name → array, (units out, units in) for linear layers.

    Raises
    ------
    InputError
        There are no two pieces that make position embeddings.
    """
    found, others = weights_below(graph, "backbone")
    width = found["embeddings.cls_token"].shape[-1] if "embeddings.cls_token" in found else 0
    pieces = [array for array in others.values() if array.ndim == 3 and array.shape[::2] == (1, width)]
    pieces.sort(key=lambda piece: piece.shape[1])  # the class token comes first
    if [piece.shape[1] == 1 for piece in pieces] != [True, False]:
        shapes = ", ".join(str(piece.shape) for piece in pieces) or "none"
        raise InputError(
            "the ONNX file needs two tensors that make the position embeddings, of the class token and of the patches; "
            f"found {shapes}: it is no DINOv2 as torch exports it"
        )
    found["embeddings.position_embeddings"] = np.concatenate(pieces, axis=1)
    found["embeddings.mask_token"] = np.zeros((1, width), np.float32)
    return found


def weights_below(graph: Any, module: str) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """The tensors of one module of an exported network by their names below it, and those whose name is not known.

    Embeddings, biases and normalisations keep their names in an export. The matrices of linear layers do not: they
    are turned over and called after a number, so that their name is that of the node that multiplies by them.
    """
    from onnx.numpy_helper import to_array

    tensors = {tensor.name: to_array(tensor) for tensor in graph.initializer}

    def below(name: str) -> str:
        """Of tensors "model.0.auto_model.x", of nodes "/model/model.0/auto_model/x/MatMul"."""
        return re.sub(rf".*\b{module}\W", "", name).replace("/", ".")

    found = {below(name): tensors.pop(name) for name in list(tensors) if f"{module}." in name}
    for node in graph.node:
        if node.op_type == "MatMul" and node.input[1] in tensors and f"{module}/" in node.name:
            name = below(node.name).removesuffix(".MatMul") + ".weight"
            found[name] = np.ascontiguousarray(tensors.pop(node.input[1]).T)
    return found, tensors


ONNX_FAMILIES = {"bert": bert_weights, "dinov2": dinov2_weights}  # by the `model_type` of the configuration


def convert_torch(files: Path, folder: Path) -> None:
    """The tensors that torch saved, unchanged, as safetensors, beside its other files; no code in it is run."""
    import torch
    from safetensors.torch import save_file

    (file,) = files.glob("*.pth")
    tensors = torch.load(file, map_location="cpu", weights_only=True)
    shutil.copytree(files, folder, ignore=shutil.ignore_patterns("*.pth"))
    save_file({k: v.contiguous() for k, v in tensors.items()}, folder / "model.safetensors", metadata={"format": "pt"})


def convert_names(files: Path, folder: Path) -> None:
    """A JSON list of names as `classes.txt`, one a line: line n (from 0) is class n."""
    (file,) = files.glob("*.json")
    names = json.loads(file.read_text(encoding="utf-8"))
    odd = [name for name in names if not isinstance(name, str) or not name.strip() or "\n" in name]
    if odd:
        raise InputError(f"{file.name} has the name {odd[0]!r}, which cannot stand on a line of its own")
    folder.mkdir()
    (folder / "classes.txt").write_bytes("".join(f"{name}\n" for name in names).encode())


def convert_vectors(files: Path, folder: Path) -> None:
    """Word vectors in an array and a parquet table of words as `vectors.npy` and `words.txt`, one word a line.

    Lines end with a line feed and nothing else ends one; line n is row n.
    """
    from pyarrow import parquet

    (array,), (table,) = files.glob("*.npy"), files.glob("*.parquet")
    vectors = np.load(array, allow_pickle=False)
    words = parquet.read_table(table).column(0).to_pylist()
    if vectors.ndim != 2 or len(vectors) != len(words):
        raise InputError(f"{array.name} is {vectors.shape} for {len(words)} words: it needs one row for each word")
    odd = [word for word in words if not word or "\n" in word]
    if odd:
        raise InputError(f"{table.name} has the word {odd[0]!r}, which cannot stand on a line of its own")
    folder.mkdir()
    np.save(folder / "vectors.npy", vectors.astype(np.float32))
    (folder / "words.txt").write_bytes("".join(f"{word}\n" for word in words).encode())


class Converter(NamedTuple):
    """How files of one format are converted, and which packages that takes."""

    convert: Callable[[Path, Path], None]
    packages: tuple[str, ...] = ()


CONVERTERS = {
    "transformers": Converter(copy_as_is),
    "spacy": Converter(copy_as_is),
    "gguf": Converter(convert_gguf, ("torch", "transformers", "gguf", "accelerate")),
    "onnx": Converter(convert_onnx, ("onnx", "safetensors")),
    "torch": Converter(convert_torch, ("torch", "safetensors")),
    "vectors": Converter(convert_vectors, ("pyarrow",)),
    "names": Converter(convert_names),
}


def need_converter(name: str, converter: Converter) -> None:
    """Refuse, with what to install, where a package is missing that converts a model's files."""
    missing = [package for package in converter.packages if find_spec(package) is None]
    if missing:
        extras = sorted({EXTRAS.get(package, "language") for package in missing})
        raise SettingsError(
            f"converting {name!r} needs {', '.join(missing)}: run `pip install 'brainalign[{','.join(extras)}]'`, then "
            f"`brainalign models fetch {name}`"
        )
