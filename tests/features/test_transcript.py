"""What was heard, as print: known edits are found again, alice and a podcast are read as they were told."""

from __future__ import annotations

import os
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rapidfuzz.distance import Levenshtein

import brainalign as ba
from brainalign import InputError, SettingsError, align_words
from brainalign.features.printed import clean, letters, tokens
from brainalign.io.fetch import sample_path

DATA = Path(os.environ.get("BRAINALIGN_TEST_DATA", Path(__file__).parents[3] / "shared" / "data"))
CHAPTER = sample_path("alice") / "stimuli/chapter1.txt"


def transcript(said, run="1") -> pd.DataFrame:
    said = said.split() if isinstance(said, str) else list(said)
    return pd.DataFrame({"run": run, "onset": np.arange(len(said)) * 0.5, "word": said})


def spoken(reading) -> list[str]:
    return [reading.text[begin:end] for begin, end in reading.spans]


def check_spans(reading, said):
    """What holds of every reading: each word is written once, in order, and nothing else is."""
    assert reading.spans.shape == (len(said), 2)
    assert (reading.spans[:, 1] > reading.spans[:, 0]).all()
    assert (reading.spans[1:, 0] >= reading.spans[:-1, 1]).all()
    assert [letters(word) for word in spoken(reading)] == [letters(word) for word in said]
    assert letters(reading.text) == "".join(map(letters, said))
    assert "  " not in reading.text


@pytest.fixture(scope="module")
def alice():
    words = ba.read_events(sample_path("alice"), task="alice")
    return words, align_words(words, CHAPTER)


@pytest.mark.parametrize(
    ("said", "printed", "text", "matches"),
    [
        ("alice was here", "Alice was here.", "Alice was here.", "same same same"),
        ("I would n't", "'I wouldn't,' she said", "'I wouldn't,'", "same part part"),
        ("they 'll go", "They’ll go!", "They’ll go!", "part part same"),
        ("the rabbit hole", "The Rabbit-Hole, it was", "The Rabbit-Hole,", "same same same"),
        ("the rabbithole is", "the rabbit-hole is", "the rabbit-hole is", "same same same"),
        ("what 's the use", "what is the use?", "what's the use?", "same slip same same"),
        ("and children had red", "But, 'Children had read", "And, 'Children had red", "slip same same slip"),
        ("she um went on", "she went, on.", "she um went, on.", "same inserted same same"),
        ("down um and she", "down. (And she", "down. um (And she", "same inserted same same"),
        ("um well i", "'Well! I", "um 'Well! I", "inserted same same"),
        ("it is it", "it is.'", "it is.' it", "same same inserted"),
        ("a rabbit um hole", "a rabbit-hole", "a rabbit um hole", "same same inserted same"),
        ("it is 's odd", "it is, odd", "it is's, odd", "same same inserted same"),
        ("ALICE WAS VERY UH TIRED", "Alice was so tired", "Alice was very uh tired", "same same slip inserted same"),
        ("so she ran", "so poor, silly (very) Alice! She ran", "so! She ran", "same same same"),
        ("in the garden", "[Illustration: in] IN THE _gar­den_", "IN THE garden", "same same same"),
        ("小 嗯 王子 讲 好", "小王子说：“好！”", "小嗯王子讲：“好！”", "same inserted same slip same"),
        ("fools' day 'tis", "April Fools’ Day ’tis.", "Fools’ Day ’tis.", "same same same"),
        ("it is five dollars and one", "It is $5 & one", "It is five dollars and one", "same same slip slip slip same"),
        ("mother-in-law came", "mother in law came", "mother in law came", "same same"),
        ("小 王子 说 好", "小王子说：“好！”", "小王子说：“好！”", "same same same same"),
        ("so , he said : “ oh ”", "So, he said: ‘Oh.’", "So, he said: ‘Oh.’", "same " * 8),
    ],
)
def test_what_was_heard_is_written_as_print(said, printed, text, matches):
    reading = align_words(transcript(said), printed)
    assert reading.text == text
    check_spans(reading, said.split())
    assert reading.table["match"].tolist() == matches.split()


def test_every_part_of_a_word_has_its_characters():
    said = ["they", "'ll", "would", "n't", "rabbit", "hole", "'s", "t", "is", "fools'"]
    reading = align_words(transcript(said), "They’ll wouldn't rabbit-hole's 'tis fools'")
    assert spoken(reading) == ["They", "’ll", "would", "n't", "rabbit", "hole", "'s", "t", "is", "fools'"]
    assert reading.table["printed"].tolist() == [
        "They’ll", "They’ll", "wouldn't", "wouldn't", "rabbit", "hole's", "hole's", "tis", "tis", "fools",
    ]  # fmt: skip


def test_marks_that_are_words_are_those_of_the_print():
    said = ["Once", "upon", "a", "time", ",", "there", "was", "a", "girl", ".", "🙂", "She"]
    reading = align_words(transcript(said), "Once upon a time, there was a girl. She")
    assert reading.text == "Once upon a time, there was a girl. 🙂 She"
    assert spoken(reading) == said
    assert reading.table["match"].tolist() == ["same"] * 10 + ["inserted", "same"]


VOCABULARY = ["".join(chr(97 + c) for c in row) for row in np.random.default_rng(0).permutation(26**3)[:400, None]
              // 26 ** np.arange(3) % 26]  # fmt: skip
VOCABULARY = [word + word[::-1][:2] for word in VOCABULARY]  # 400 different words of 5 letters, none within another
EDITS = st.sampled_from(["keep"] * 12 + ["split", "drop", "insert", "replace", "capitals"])
MARKS = st.sampled_from([" "] * 6 + [", ", ". ", "! '", ",' ", " (", ") ", "; ", "--", "-", "\n", "\n\n", " -- "])


@given(st.lists(st.tuples(EDITS, MARKS), min_size=4, max_size=60), st.randoms(use_true_random=False))
def test_known_edits_are_found_again(plan, random):
    words = random.sample(VOCABULARY, len(plan))
    said, truth = [], []  # truth: the printed word and how it should match; None: as it comes
    for k, (word, (edit, _)) in enumerate(zip(words, plan)):
        other = f"{k:05d}"  # no letter in common with any printed word
        if edit == "split":
            said += [word[:3], word[3:]]
            truth += [(word, "part")] * 2
        elif edit != "drop":
            said += {"insert": [other, word], "replace": [other], "capitals": [word.upper()]}.get(edit, [word])
            truth += {"insert": [None, (word, "same")], "replace": [None]}.get(edit, [(word, "same")])
    printed = "".join(word + mark for word, (_, mark) in zip(words, plan))
    if sum(one is not None for one in truth) < len(said) / 2 or not said:
        return
    reading = align_words(transcript(said), printed)
    check_spans(reading, said)
    found = list(zip(reading.table["printed"], reading.table["match"]))
    assert [have for have, one in zip(found, truth) if one] == [one for one in truth if one]
    assert {have[1] for have, one in zip(found, truth) if not one} <= {"slip", "inserted"}
    assert len(reading.left_out) == len(words) - len({row for row in reading.table["printed"] if row})
    again = align_words(transcript(said), printed)
    assert (again.text, again.spans.tolist()) == (reading.text, reading.spans.tolist())


@given(
    st.lists(
        st.tuples(st.sampled_from(["the", "a", "cat", "I'm", "rabbit-hole", "it", "well"]), MARKS),
        min_size=1,
        max_size=60,
    )
)
def test_the_unedited_text_is_itself(plan):
    printed = "".join(word + mark for word, mark in plan)
    said = [word for word, _ in plan]
    reading = align_words(transcript(said), printed)
    check_spans(reading, said)
    assert reading.table["match"].eq("same").all()
    assert spoken(reading) == said
    assert reading.share == 1
    assert len(reading.left_out) == 0
    assert clean(printed).startswith(reading.text)
    assert reading.spans[0, 0] == 0


def test_alice_is_found_in_her_chapter(alice):
    words, reading = alice
    assert reading.table["match"].value_counts().to_dict() == {"same": 2066, "part": 44, "slip": 14, "inserted": 3}
    assert reading.share == 2110 / 2127
    assert repr(reading) == (
        "Reading(2,110 of 2,127 words match (99.2%), 44 of them parts of a word; 14 slips (e.g. \"'s\" for 'is' at "
        "14.2 s), 3 inserted; 65 printed words left out)"
    )
    check_spans(reading, words["word"])
    pd.testing.assert_frame_equal(reading.table[list(words)], words)
    assert "‘" not in reading.text
    assert "*" not in reading.text


def test_alice_s_slips_are_those_one_hears(alice):
    _, reading = alice
    slips = reading.table[reading.table["match"].isin(["slip", "inserted"])]
    assert [tuple(row) for row in slips[["word", "printed"]].to_numpy()] == [
        ("'s", "is"), ("conversation", "conversations"), ("she'd", "she"), ("labled", "labelled"), ("she", ""),
        ("Zeland", "Zealand"), ("around", "round"), ("though", "through"), ("know", "knew"), ("'d", "had"),
        ("gotten", "got"), ("'s", "is"), ("flavor", "flavour"), ("ever", ""), ("'d", "had"), ("once", ""),
        ("happpens", "happens"),
    ]  # fmt: skip
    within = reading.left_out[reading.left_out["after"].between(0, 2125)]
    assert [(printed, reading.table["word"].iloc[after]) for printed, after in within.to_numpy()] == [
        ("had", "she"), ("had", "she'd"), ("I", "aloud"), ("to", "on"), ("that", "found"), ("ever", "remember"),
        ("in", "use"), ("and", "eyes"), ("once", "eyes"), ("very", "was"), ("left", "me"),
    ]  # fmt: skip
    before = reading.left_out.loc[reading.left_out["after"] == -1, "printed"]
    assert " ".join(before) == "CHAPTER I Down the Rabbit Hole"


@pytest.mark.parametrize(
    "heard",
    [
        "Alice was beginning to get very tired of sitting by her sister on the bank, and of having nothing to do: once",
        "once or twice she peeped into the book",
        "'and what's the use of a book,' thought Alice 'without pictures or conversation?' So she",
        "'ORANGE MARMALADE', but to her",
        "by this time?' she said aloud. 'must be getting",
        "(when she thought it over afterwards, it occurred to her that",
        "histories about children who'd gotten burnt, and eaten up",
        "poison,' it's almost certain",
        "nothing so VERY remarkable in that; nor did",
        "as to bring tears into her eyes; she once remembered trying",
        "soon finished it off. 'What a curious feeling!' said Alice; 'I must",
    ],
)
def test_alice_is_read_with_her_marks(alice, heard):
    assert heard in alice[1].text


def test_alice_s_text_begins_and_ends_with_what_was_heard(alice):
    _, reading = alice
    assert reading.text.startswith("Alice was")
    assert reading.text.endswith("this generally happens when one eats cake,")


def test_alice_s_sentences(alice):
    _, reading = alice
    table = reading.table
    assert (table["sentence"].iloc[0], table["sentence"].iloc[-1]) == (1, 68)
    assert set(table["sentence"].diff().dropna()) == {0, 1}
    second = table[table["sentence"] == 2]
    assert (second["word"].iloc[0], second["word"].iloc[-1], len(second)) == ("so", "her", 56)


def test_an_excerpt_is_found_in_a_book(alice):
    words, alone = alice
    rng = np.random.default_rng(0)
    chapter = clean(CHAPTER.read_text(encoding="utf-8"))
    other = [" ".join(rng.permutation(chapter.split())) for _ in range(6)]  # the same words, in no order
    excerpt = words.iloc[700:1400].reset_index(drop=True)
    reading = align_words(excerpt, "\n\n".join([*other[:3], chapter, *other[3:]]))
    assert reading.table["match"].tolist() == alone.table["match"].tolist()[700:1400]
    assert reading.table["printed"].tolist() == alone.table["printed"].tolist()[700:1400]
    assert reading.text in alone.text


def podcast():
    """The words of the podcast, and its sentences."""
    folder = DATA / "speech-transcripts"
    if not folder.is_dir():
        pytest.skip(f"the transcripts are not here: {folder} (set BRAINALIGN_TEST_DATA)")
    words = pd.read_csv(folder / "podcast_monkey_words_512hz.csv", keep_default_na=False)
    words = words.assign(run="1", onset=words["onset"] / 512).sort_values("onset", ignore_index=True)
    sentences = pd.read_csv(folder / "podcast_sentences.csv", keep_default_na=False)
    return words, sentences.assign(text=sentences["all_sentence"].str.strip())


def test_where_levenshtein_scatters_an_excerpt_it_is_found_whole(alice):
    words, alone = alice
    chapter, other = clean(CHAPTER.read_text(encoding="utf-8")), " ".join(podcast()[1]["text"])
    excerpt = words.iloc[700:1400].reset_index(drop=True)
    book = " ".join([other, chapter, other, other])
    said, printed = map(letters, excerpt["word"]), [token.letters for token in tokens(book)]
    first, stop = len(tokens(other)), len(tokens(other + " " + chapter))
    equal = [op for op in Levenshtein.opcodes(list(said), printed) if op.tag == "equal"]
    outside = [j for op in equal for j in range(op.dest_start, op.dest_end) if not first <= j < stop]
    assert outside  # 8, up to 4,181 words away, with rapidfuzz 3.14
    reading = align_words(excerpt, book)
    assert reading.text in alone.text
    assert reading.table["match"].tolist() == alone.table["match"].tolist()[700:1400]


def test_capitals_of_the_transcript_say_nothing(alice):
    words, reading = alice
    shouted = align_words(words.assign(word=words["word"].str.upper()), CHAPTER)
    assert shouted.table["match"].tolist() == reading.table["match"].tolist()
    assert shouted.text.lower() == reading.text.lower()
    assert "so she managed to put it" in shouted.text
    assert "New Zeland or" in shouted.text


def test_a_text_per_run_is_a_text_for_all(alice):
    words, reading = alice
    chapter = CHAPTER.read_text(encoding="utf-8")
    cut = int(np.flatnonzero(reading.table["sentence"] == 28)[0])
    place = chapter.index("Down, down, down. There was nothing else")
    assert words["word"].iloc[cut] == "Down"
    runs = words.assign(run=np.where(np.arange(len(words)) < cut, 1, 2))
    apart = align_words(runs, {1: chapter[:place], "2": chapter[place:]})
    assert apart.text == reading.text
    assert apart.spans.tolist() == reading.spans.tolist()
    assert apart.table["sentence"].tolist() == reading.table["sentence"].tolist()
    assert sorted(apart.left_out["printed"]) == sorted(reading.left_out["printed"])
    assert apart.left_out["after"].is_monotonic_increasing
    together = align_words(runs, CHAPTER)
    assert together.text == reading.text


def test_a_podcast_and_its_sentences():
    words, table = podcast()
    reading = align_words(words, "\n".join(table["text"]))
    check_spans(reading, words["word"])
    assert reading.table["match"].value_counts().to_dict() == {"same": 4993, "inserted": 119}
    assert len(reading.left_out) == 25
    assert reading.text.startswith("So there's some places where animals almost never go, places that are designed by")
    assert reading.table["sentence"].max() == 338
    # where a sentence of the table begins (its clock runs up to 0.15 s behind the words'), one of ours does
    sentence = np.searchsorted(table["sentence_onset"], words["onset"] + 0.15)
    theirs, ours = np.diff(sentence) > 0, np.diff(reading.table["sentence"]) > 0
    assert (theirs.sum(), ours.sum(), (theirs & ours).sum()) == (362, 337, 332)


def test_what_is_wrong_is_said(alice, tmp_path):
    words, _ = alice
    with pytest.raises(InputError, match=r"there is no text .*chapter2.txt: check the path"):
        align_words(words, CHAPTER.with_name("chapter2.txt"))
    (tmp_path / "latin.txt").write_bytes("Alice caf\xe9".encode("latin-1"))
    with pytest.raises(InputError, match=r"latin.txt is not UTF-8 \(byte 9\): save it as UTF-8"):
        align_words(words, tmp_path / "latin.txt")
    (tmp_path / "other.txt").write_text("Call me Ishmael. Some years ago was Alice", encoding="utf-8")
    with pytest.raises(
        InputError,
        match=r"the text other.txt is not what was heard: of 2,127 words 3 are in it \(0.1%\), at least 50% are "
        r"needed; the first that is not is 'Alice' \(run 1, 0.1 s\)$",
    ):
        align_words(words, tmp_path / "other.txt")
    with pytest.raises(InputError, match=r"'chapter1.txt' was taken for the text itself, a file is given as Path\("):
        align_words(words, "chapter1.txt")
    with pytest.raises(InputError, match=r"the text is not what was heard: of 2,127 words 0 are in it \(0.0%\)"):
        align_words(words, "")
    with pytest.raises(InputError, match=r"run 1 has no text; did you mean '01'\?"):
        align_words(words, {"01": CHAPTER, "02": CHAPTER})
    twice = pd.concat([transcript("a b"), transcript("a b", run="2"), transcript("c").assign(onset=9.0)])
    with pytest.raises(InputError, match="event 4 is of run 1, which began and ended above it: sort the events by run"):
        align_words(twice, "a b a b c")
    with pytest.raises(InputError, match="no column 'word'"):
        align_words(words.drop(columns="word"), CHAPTER)


@pytest.mark.verify
def test_a_hundred_thousand_words_take_seconds():
    rng = np.random.default_rng(0)
    vocabulary = ["".join(chr(97 + c) for c in rng.integers(0, 26, rng.integers(2, 9))) for _ in range(20_000)]
    zipf = 1 / np.arange(1, 20_001)
    printed = rng.choice(vocabulary, 100_000, p=zipf / zipf.sum()).tolist()
    said = []
    for word, luck in zip(printed, rng.random(len(printed))):
        if luck < 0.03 and len(word) > 3:
            said += [word[:-2], word[-2:]]
        elif luck < 0.05:
            said.append(vocabulary[rng.integers(len(vocabulary))])
        elif luck > 0.01 or len(word) > 3:
            said.append(word)
    began = time.perf_counter()
    reading = align_words(transcript(said), ", ".join(printed))
    assert time.perf_counter() - began < 30  # 3 s on a quiet machine
    check_spans(reading, said)
    assert reading.share > 0.97
    with pytest.raises(InputError, match="is not what was heard"):
        align_words(transcript(said), " ".join(rng.choice(vocabulary, 100_000, p=zipf / zipf.sum())))
    assert time.perf_counter() - began < 60


def test_without_rapidfuzz_it_says_what_to_install(monkeypatch):
    monkeypatch.setattr("brainalign.errors.find_spec", lambda name: None)
    said = r"words of a transcript in its text needs rapidfuzz: run `pip install 'brainalign\[words\]'`"
    with pytest.raises(SettingsError, match=said):
        align_words(transcript("why i do"), "Why, I do.")
