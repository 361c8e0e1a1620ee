"""Which vectors does a file of word vectors have for these words?"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Collection, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from brainalign.errors import InputError, SettingsError, did_you_mean
from brainalign.features.models import ModelFiles, model_files
from brainalign.provenance import hash_file
from brainalign.shipped import cards
from brainalign.store import key_of

VECTORS = "vectors.npy"
WORDS = ("words.txt", "vocab.txt")  # beside it, one word a line
CARD_KIND = "static word vectors"
ENDINGS = (".txt", ".vec", ".bin", ".gz")
CHUNK_BYTES = 1 << 18
IN_NUMBERS = frozenset(b"0123456789+-.eEinfNa \t")
OTHERS = {  # how a file begins that is something else, and what to do about it
    b"PK\x03\x04": "is a zip archive: unzip it and name one of its files",
    b"\x80": "is a Python pickle, which can run code when opened: save it from gensim with save_word2vec_format",
    b"\xba\x16O/": "is a model of fastText: name the text file that comes with it, .vec",
    b"\x93NUMPY": f"is an array without its words: name a folder that holds it as {VECTORS}, and {WORDS[0]}",
}


@dataclass(frozen=True)
class WordVectors:
    """Vectors of words on disk, and what makes them these and no others.

    Parameters
    ----------
    name : str
        What bands are called after.
    place : Path
        A file, or a folder with `vectors.npy` and `words.txt`.
    revision : str
        The sha256 of what is in it.
    """

    name: str
    place: Path
    revision: str

    def of(self, words: Collection[str]) -> dict[str, np.ndarray]:
        """The vectors of those of the words that are there; nothing else is kept in memory.

        Parameters
        ----------
        words : collection of str
            As they are spelled there: nothing is tried but these.

        Returns
        -------
        dict of str → (width,) float32
            Of a word that is there twice, the first.

        Raises
        ------
        InputError
            A file that cannot be read as GloVe, word2vec or fastText write them: what is wrong, and in which line.
        """
        wanted = {word.encode(errors="surrogatepass"): word for word in words}
        found = (_in_folder if self.place.is_dir() else _in_file)(self.place, wanted.keys())
        for word, vector in found.items():
            if not np.isfinite(vector).all():
                raise InputError(f"{self.place}: the vector of {wanted[word]!r} has numbers that are not finite")
        return {wanted[word]: vector for word, vector in found.items()}


def means_vectors(place: str | Path) -> bool:
    """Whether a name or path is about word vectors, and not about a language model."""
    known = cards("models")
    if isinstance(place, str) and place in known:
        return known[place].get("kind") == CARD_KIND
    path = Path(place).expanduser()
    return path.is_file() or (path / VECTORS).is_file() or path.suffix in ENDINGS


def locate_vectors(place: str | Path) -> WordVectors:
    r"""Find word vectors by the name of their card, by their file, or by their folder.

    Parameters
    ----------
    place : str or path
        Looked for in this order: a card ("glove-50d"); a file as GloVe (text without a header), word2vec (text or
        binary) or fastText (`.vec`) write them, packed with gzip or not, told apart by what is in it; a folder with
        `vectors.npy` (n_words, width) and `words.txt` or `vocab.txt`, one word a line.

    Raises
    ------
    SettingsError
        There is nothing of the kind, or a card that was not fetched yet: the message names the command.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = Path(folder, "tiny.2d.txt")
    ...     _ = file.write_text("the 0.1 0.2\ncat 0.3 0.4\n")
    ...     vectors = locate_vectors(file)
    ...     vectors.name, vectors.of(["cat"])["cat"].round(1).tolist() == np.float32([0.3, 0.4]).tolist()
    ('tiny.2d', True)
    """
    known = cards("models")
    if isinstance(place, str) and place in known:
        files, name = model_files(place), place
        path = files.folder
    else:
        path = Path(place).expanduser()
        files = ModelFiles(path, {})
        name = path.resolve().name if path.is_dir() else path.name.removesuffix(".gz").removesuffix(_ending(path))
    if path.is_dir():
        words = next((file for file in WORDS if (path / file).is_file()), None)
        if words is None or not (path / VECTORS).is_file():
            raise SettingsError(
                f"{str(place)!r} holds no word vectors: a folder of them has {VECTORS} and {' or '.join(WORDS)}"
            )
        return WordVectors(name, path, key_of(files={file: files.sha256(file) for file in (VECTORS, words)}))
    if not path.is_file():
        raise SettingsError(
            f"there are no word vectors {str(place)!r}; {did_you_mean(str(place), known)} (a file as GloVe, word2vec "
            f"or fastText write them works too, and so does a folder with {VECTORS} and {WORDS[0]})"
        )
    return WordVectors(name, path, hash_file(path))


def _ending(path: Path) -> str:
    """The ending of a file that is no part of the name of what is in it, as ".50d" of "glove.6B.50d" is."""
    ending = Path(path.name.removesuffix(".gz")).suffix
    return ending if ending in ENDINGS else ""


def _in_folder(folder: Path, wanted: Set[bytes]) -> dict[bytes, np.ndarray]:
    words = next(folder / file for file in WORDS if (folder / file).is_file())
    try:
        matrix = np.load(folder / VECTORS, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise InputError(
            f"{folder / VECTORS} is no array that can be read ({error}): write it with numpy.save"
        ) from error
    rows: dict[bytes, int] = {}
    count = 0
    with words.open("rb") as file:
        for count, line in enumerate(file, start=1):
            word = line.rstrip(b"\r\n")
            if word in wanted:
                rows.setdefault(word, count - 1)
    if matrix.ndim != 2 or len(matrix) != count or matrix.dtype.kind != "f":
        raise InputError(
            f"{folder}: {words.name} has {count} words, {VECTORS} is {matrix.dtype} of shape {matrix.shape}: it needs "
            "a row of floating-point numbers for each word"
        )
    return {word: np.array(matrix[row], np.float32) for word, row in rows.items()}


def _in_file(path: Path, wanted: Set[bytes]) -> dict[bytes, np.ndarray]:
    with path.open("rb") as raw:
        begins = raw.read(8)
    for magic, said in OTHERS.items():
        if begins.startswith(magic):
            raise InputError(f"{path} {said}")
    try:
        with gzip.open(path) if begins.startswith(b"\x1f\x8b") else path.open("rb") as file:
            return _read(file, path, wanted)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise InputError(f"{path} cannot be unpacked ({error}): was it downloaded whole?") from error


def _read(file: Any, path: Path, wanted: Set[bytes]) -> dict[bytes, np.ndarray]:
    """Tell the formats apart: a first line "N D" or none; after it text, or numbers as they are in memory."""
    first = file.readline(CHUNK_BYTES)
    size = first.split()
    if len(size) == 2 and all(part.isdigit() for part in size):
        count, width = map(int, size)
        begin = file.tell()
        start = file.read(CHUNK_BYTES)
        file.seek(begin)
        if count and width:
            read = _read_text if _is_text(start, width) else _read_binary
            return read(file, path, wanted, width, count)
    numbers = 0
    for part in reversed(first.rstrip().split(b" ")[1:]):
        if not _is_number(part):
            break
        numbers += 1
    if not numbers:
        raise InputError(
            f"{path} does not begin as a file of word vectors: a word and its numbers, or the numbers of words and of "
            f"dimensions; found {first[:40]!r}"
        )
    file.seek(0)
    return _read_text(file, path, wanted, numbers, None)


def _is_text(start: bytes, width: int) -> bool:
    """Whether what follows a first word are written numbers; those of a binary file are any bytes."""
    numbers = start.lstrip(b"\n").partition(b" ")[2]
    if IN_NUMBERS.issuperset(numbers[: 2 * width - 1]):  # each has a character and a space at least
        return True
    # a first line that is too short runs into the next word: still text, with something to be said of it
    return all(32 <= byte < 127 or byte in b"\t\n\r" for byte in numbers[: 4 * width])


def _read_text(file: Any, path: Path, wanted: Set[bytes], width: int, count: int | None) -> dict[bytes, np.ndarray]:
    """A word and its numbers a line. Only lines of wanted words are parsed; of the others, numbers are counted."""
    found: dict[bytes, np.ndarray] = {}
    seen = 0
    for number, line in enumerate(file, start=1 if count is None else 2):
        line = line.rstrip()
        if not line:
            continue
        seen += 1
        gaps = line.count(b" ")
        word = line[: line.index(b" ")] if gaps == width else line.rsplit(b" ", width)[0]
        if gaps < width or (gaps > width and _is_number(word.rsplit(b" ", 1)[-1])):  # more gaps: a word with spaces
            raise InputError(
                f"{path}, line {number} ({line[:20].decode(errors='replace')!r} …) has {gaps} numbers, not {width}: "
                "was it downloaded whole?"
            )
        if word in wanted and word not in found:
            try:
                found[word] = np.array([float(part) for part in line.split(b" ")[-width:]], np.float32)
            except ValueError as error:
                raise InputError(f"{path}, line {number} ({word.decode()!r}): {error}") from error
    if count is not None and seen != count:
        raise InputError(f"{path} has {seen} words, its first line says {count}: was it downloaded whole?")
    return found


def _read_binary(file: Any, path: Path, wanted: Set[bytes], width: int, count: int) -> dict[bytes, np.ndarray]:
    """A word, a space, and its numbers as little-endian float32; a line break may stand before a word."""
    found: dict[bytes, np.ndarray] = {}
    held, at = b"", 0
    for seen in range(count):
        while (space := held.find(b" ", at)) < 0 or len(held) <= space + 4 * width:
            more = file.read(CHUNK_BYTES)
            if not more:
                raise InputError(
                    f"{path} ends after {seen} words, its first line says {count} of {width} numbers: was it "
                    "downloaded whole?"
                )
            held, at = held[at:] + more, 0
        word = held[at:space].lstrip(b"\n")
        if word in wanted and word not in found:
            found[word] = np.frombuffer(held, "<f4", width, space + 1).astype(np.float32)
        at = space + 1 + 4 * width
    return found


def _is_number(text: bytes) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
