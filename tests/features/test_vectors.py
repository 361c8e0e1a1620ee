"""Files of word vectors: every format gives the same numbers, and what is wrong with a file is said."""

from __future__ import annotations

import gzip
import struct
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from brainalign.errors import InputError, SettingsError
from brainalign.features.vectors import locate_vectors, means_vectors

WORDS = ["the", ",", "n't", "'s", "café", "Zoë", "new_york", "兔子", "1984", "</s>", "a-b", "\u00a0", "nan", "2"]
WIDTH = 5


@pytest.fixture
def rows() -> np.ndarray:
    return np.random.default_rng(0).standard_normal((len(WORDS), WIDTH)).astype(np.float32)


def numbers(row) -> str:
    return " ".join(repr(float(x)) for x in row)


def glove(path: Path, words, rows) -> Path:
    path.write_bytes(b"".join(f"{word} {numbers(row)}\n".encode() for word, row in zip(words, rows)))
    return path


def fasttext(path: Path, words, rows) -> Path:
    body = b"".join(f"{word} {numbers(row)} \n".encode() for word, row in zip(words, rows))  # a space ends each line
    path.write_bytes(f"{len(rows)} {rows.shape[1]}\n".encode() + body)
    return path


def binary(path: Path, words, rows, between=b"\n") -> Path:
    body = b"".join(word.encode() + b" " + row.astype("<f4").tobytes() + between for word, row in zip(words, rows))
    path.write_bytes(f"{len(rows)} {rows.shape[1]}\n".encode() + body)
    return path


def gensim_text(path: Path, words, rows) -> Path:
    keyed(words, rows).save_word2vec_format(str(path), binary=False)
    return path


def gensim_binary(path: Path, words, rows) -> Path:
    keyed(words, rows).save_word2vec_format(str(path), binary=True)
    return path


def keyed(words, rows):
    from gensim.models import KeyedVectors

    out = KeyedVectors(rows.shape[1])
    out.add_vectors(words, rows)
    return out


def packed(path: Path, words, rows) -> Path:
    path.write_bytes(gzip.compress(glove(path, words, rows).read_bytes()))
    return path


def packed_binary(path: Path, words, rows) -> Path:
    path.write_bytes(gzip.compress(binary(path, words, rows, between=b"").read_bytes()))
    return path


def folder(path: Path, words, rows) -> Path:
    path.mkdir()
    np.save(path / "vectors.npy", rows)
    (path / "words.txt").write_text("".join(f"{word}\n" for word in words), encoding="utf-8")
    return path


FORMATS = [glove, fasttext, binary, gensim_text, gensim_binary, packed, packed_binary, folder]


@pytest.mark.parametrize("write", FORMATS)
def test_every_format_gives_the_same_numbers(write, tmp_path, rows):
    found = locate_vectors(write(tmp_path / "some.vectors.txt", WORDS, rows))
    assert found.name == ("some.vectors.txt" if write is folder else "some.vectors")
    vectors = found.of([*WORDS, "absent", "th", "The"])
    assert set(vectors) == set(WORDS)
    for word, row in zip(WORDS, rows):
        assert vectors[word].dtype == np.float32
        np.testing.assert_array_equal(vectors[word], row)


@pytest.mark.parametrize("write", [fasttext, binary])
def test_gensim_reads_the_same_from_files_written_by_hand(write, tmp_path, rows):
    from gensim.models import KeyedVectors

    path = write(tmp_path / "x.bin", WORDS, rows)
    theirs = KeyedVectors.load_word2vec_format(str(path), binary=write is binary)
    ours = locate_vectors(path).of(WORDS)
    for word in WORDS:
        np.testing.assert_array_equal(ours[word], theirs[word])


# a word in such a file has no white space; \x1c to \x1f and \x85 count as such for str.split, which reads no file here
words_of_files = st.text(st.characters(exclude_characters=" \n\r\t", exclude_categories=["Cs"]), min_size=1, max_size=8)


@given(
    st.lists(words_of_files, min_size=1, max_size=12, unique=True),
    st.sampled_from([glove, fasttext, binary, packed_binary]),
    st.integers(4, 9),
    st.integers(0, 99),
)
@example(["0\x0c0"], glove, 4, 0)  # Python counts a form feed as white space, these files do not
def test_odd_words_come_back(tmp_path_factory, words, write, width, seed):
    rows = np.random.default_rng(seed).standard_normal((len(words), width)).astype(np.float32)
    path = write(tmp_path_factory.mktemp("odd") / "x.txt", words, rows)
    found = locate_vectors(path).of(words)
    assert set(found) == set(words)
    for word, row in zip(words, rows):
        np.testing.assert_array_equal(found[word], row)


def test_of_a_word_that_is_there_twice_the_first_counts(tmp_path, rows):
    words = ["a", "b", "a", "c"]
    for k, write in enumerate((glove, fasttext, binary, folder)):
        np.testing.assert_array_equal(
            locate_vectors(write(tmp_path / f"{k}.txt", words, rows[:4])).of("a")["a"], rows[0]
        )


def test_words_with_spaces_and_broken_bytes_stand_in_no_one_s_way(tmp_path, rows):
    # as in GloVe 840B: ". . ." and "at name@domain.com" are words, and some were cut in the middle of a character
    path = tmp_path / "840B.txt"
    lines = [". . .", "the", "at name@domain.com", "café"]
    body = [f"{word} {numbers(row)}\n".encode() for word, row in zip(lines, rows)]
    path.write_bytes(b"".join([*body[:3], b"caf\xc3 " + numbers(rows[4]).encode() + b"\n", body[3]]))
    found = locate_vectors(path).of(["the", "café", ". . .", "."])
    assert set(found) == {"the", "café", ". . ."}
    np.testing.assert_array_equal(found["café"], rows[3])
    np.testing.assert_array_equal(found[". . ."], rows[0])


def test_only_what_is_asked_for_is_in_memory(tmp_path):
    rows = np.zeros((20_000, 50), np.float32)
    words = [f"w{k}" for k in range(len(rows))]
    for k, write in enumerate((glove, binary, folder)):
        vectors = locate_vectors(write(tmp_path / f"{k}.txt", words, rows))
        tracemalloc.start()
        assert len(vectors.of(["w7", "w19999"])) == 2
        assert tracemalloc.get_traced_memory()[1] < rows.nbytes
        tracemalloc.stop()


def broken(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "does not begin as a file of word vectors: .*found b''"),
        (b'{"a": 1}\n', "does not begin as a file of word vectors"),
        (
            b"the 0.1 0.2 0.3\ncat 0.1 0.2\n",
            r"line 2 \('cat 0.1 0.2' …\) has 2 numbers, not 3: was it downloaded whole",
        ),
        (b"the 0.1 0.2\ncat 0.1 0.2 0.3\n", r"line 2 \('cat 0.1 0.2 0.3' …\) has 3 numbers, not 2"),
        (b"2 3\nthe 0.1 0.2 0.3\ncat 0.1 0.2\n", r"line 3 \('cat 0.1 0.2' …\) has 2 numbers, not 3"),
        (b"2 3\nthe 0.1 0.2\ncat 0.1 0.2 0.3\n", r"line 2 \('the 0.1 0.2' …\) has 2 numbers, not 3"),
        (b"3 2\nthe 0.1 0.2\ncat 0.1 0.2\n", "has 2 words, its first line says 3: was it downloaded whole"),
        (b"the 0.1 0.2\ncat x.1 0.2\n", r"line 2 \('cat'\): could not convert"),
        (b"the 0.1 0.2\ncat nan 0.2\n", "the vector of 'cat' has numbers that are not finite"),
        (b"3 2\nthe \x00\x00\x80?\x00\x00\x00\xc0\ncat \x00", "ends after 1 words, its first line says 3 of 2"),
        (b"PK\x03\x04....", "is a zip archive: unzip it and name one of its files"),
        (b"\x80\x04\x95...", "is a Python pickle, .* save_word2vec_format"),
        (struct.pack("<i", 793712314) + b"\x0c\x00", r"is a model of fastText: name the text file .* \.vec"),
        (b"\x93NUMPY\x01\x00", "is an array without its words: name a folder that holds it as vectors.npy"),
        (gzip.compress(b"the 0.1 0.2\n" * 99, mtime=0)[:-20], "cannot be unpacked .*: was it downloaded whole"),
    ],
)
def test_what_is_wrong_with_a_file_is_said(tmp_path, content, message):
    with pytest.raises(InputError, match=message):
        locate_vectors(broken(tmp_path / "v.txt", content)).of(["the", "cat"])


def test_what_is_wrong_with_a_folder_is_said(tmp_path, rows):
    path = folder(tmp_path / "mine", WORDS, rows)
    (path / "words.txt").write_text("the\ncat\n")
    with pytest.raises(InputError, match=r"words.txt has 2 words, vectors.npy is float32 of shape \(14, 5\)"):
        locate_vectors(path).of(["the"])
    (path / "vectors.npy").write_bytes(b"\x93NUMPY")
    with pytest.raises(InputError, match=r"vectors.npy is no array that can be read .*: write it with numpy.save"):
        locate_vectors(path).of(["the"])
    (path / "words.txt").unlink()
    with pytest.raises(
        SettingsError, match=r"holds no word vectors: a folder of them has vectors.npy and words.txt or"
    ):
        locate_vectors(path)


def test_a_revision_is_what_is_in_the_file_and_not_where_it_lies(tmp_path, rows):
    a, b = (locate_vectors(glove(tmp_path / name, WORDS, rows)) for name in ("a.txt", "b.vec"))
    assert a.revision == b.revision
    assert (a.name, b.name) == ("a", "b")
    assert locate_vectors(glove(tmp_path / "c.txt", WORDS, rows + 1)).revision != a.revision
    one, other = (locate_vectors(folder(tmp_path / name, WORDS, rows)) for name in ("one", "other"))
    assert one.revision == other.revision


def test_what_is_about_vectors_and_what_about_a_model(tmp_path, rows):
    assert means_vectors(glove(tmp_path / "noending", WORDS, rows))
    assert means_vectors(str(folder(tmp_path / "mine", WORDS, rows)))
    assert means_vectors("not/there.vec")
    for model in ("stories260k", "smollm2-135m", "openai/gpt-1.5", tmp_path, "storys"):
        assert not means_vectors(model)


def test_what_is_not_there_names_what_is_close():
    with pytest.raises(SettingsError, match=r"no word vectors 'storis260k'; did you mean 'stories260k'\? \(a file as"):
        locate_vectors("storis260k")
    with pytest.raises(SettingsError, match="'stories260k' holds no word vectors"):
        locate_vectors("stories260k")


def test_an_array_of_python_objects_is_never_opened(tmp_path, rows):
    path = folder(tmp_path / "mine", WORDS, rows)
    np.save(path / "vectors.npy", rows.astype(object), allow_pickle=True)
    with pytest.raises(InputError, match=r"vectors.npy is no array that can be read"):
        locate_vectors(path).of(["the"])
