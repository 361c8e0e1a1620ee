"""A study that names the printed text of its words: they are found in it before anything is computed."""

from __future__ import annotations

import pandas as pd
import pytest

from brainalign.errors import BrainalignError, InputError, SettingsError
from brainalign.provenance import hash_file
from brainalign.store import Store
from brainalign.study.met import in_print
from brainalign.study.run import check_study, prepare
from brainalign.study.settings import read_study, study_from, written_out

RATE = [{"name": "rate", "kind": "word_rate"}]


def prepared(path, tmp_path):
    return prepare(read_study(path), Store(tmp_path / "store"), lambda done, total, what: None)


@pytest.mark.parametrize("text", ["tree/stimuli/chapter1.txt", {1: "tree/stimuli/chapter1.txt"}])
def test_the_words_are_found_in_the_text(study, tmp_path, text):
    ready = prepared(study(stimuli={"text": text}, features=RATE, encoding=None), tmp_path)
    assert ready.met.reading is not None
    assert ready.met.reading.share > 0.99
    assert len(ready.met.reading.spans) == len(ready.met.events)
    assert ready.met.events["sentence"].iloc[-1] == 68
    assert {"task-alice_events.tsv", "chapter1.txt"} <= set(ready.met.events.attrs["inputs"])
    assert any(note.startswith("text: Reading(2,110 of 2,127 words match") for note in ready.met.events.attrs["notes"])


def test_without_a_text_the_events_are_as_they_were(study, tmp_path):
    ready = prepared(study(features=RATE, encoding=None), tmp_path)
    assert ready.met.reading is None
    assert "sentence" not in ready.met.events


def test_settings_name_the_text_and_do_not_locate_it(study):
    path = study(stimuli={"text": "tree/stimuli/chapter1.txt"}, features=RATE, encoding=None)
    read = read_study(path)
    assert read.stimuli.text == path.parent / "tree/stimuli/chapter1.txt"
    assert written_out(read)["stimuli"]["text"] == "chapter1.txt"
    both = study_from(
        {"data": {"bids": "x"}, "features": RATE, "stimuli": {"text": {1: "a/one.txt", "2": "a/two.txt"}}}
    )
    assert written_out(both)["stimuli"]["text"] == {"1": "one.txt", "2": "two.txt"}
    with pytest.raises(SettingsError, match=r"stimuli.text"):
        study_from({"data": {"bids": "x"}, "features": RATE, "stimuli": {"text": 3}})


def test_check_and_fit_say_what_is_wrong_with_it(study, tree, tmp_path):
    def said(**sections):
        path = study(features=RATE, encoding=None, **sections)
        problems = check_study(read_study(path))
        assert len(problems) == 1
        with pytest.raises(BrainalignError) as error:
            prepared(path, tmp_path)
        assert str(error.value) == problems[0]
        return problems[0]

    assert "stimuli.text: there is no text" in said(stimuli={"text": "tree/none.txt"})
    (tree / "other.txt").write_text("So there's some places where animals almost never go.", encoding="utf-8")
    assert "stimuli.text: the text other.txt is not what was heard: of 2,127 words" in said(
        stimuli={"text": "tree/other.txt"}
    )
    assert "stimuli.text: run 1 has no text" in said(stimuli={"text": {"2": "tree/other.txt"}})


def test_the_numbers_of_its_sentences_are_no_sentences(study, tmp_path):
    gist = {"name": "gist", "kind": "sentence", "model": "stories260k", "column": "sentence"}
    path = study(stimuli={"text": "tree/stimuli/chapter1.txt"}, features=[*RATE, gist], encoding=None)
    (problem,) = check_study(read_study(path))
    assert problem.startswith("feature 'gist': column 'sentence' holds numbers (1, …), not text")
    with pytest.raises(InputError, match="column 'sentence' holds numbers"):
        prepared(path, tmp_path)


def test_texts_of_one_name_in_two_folders_are_two_inputs(tmp_path):
    text = {"1": "one/text.txt", "2": "two/text.txt"}
    for path, said in zip(text.values(), ("A dog barks.", "It ran.")):
        (tmp_path / path).parent.mkdir()
        (tmp_path / path).write_text(said, encoding="utf-8")
    words = pd.DataFrame({"run": list("11122"), "onset": [0, 1, 2, 0, 1], "word": ["a", "dog", "barks", "it", "ran"]})
    study = study_from({"data": {"bids": "x"}, "features": RATE, "stimuli": {"text": text}, "encoding": {}}, tmp_path)
    found = in_print(study, words).events.attrs["inputs"]
    assert list(found) == ["text.txt", "text.txt (2)"]
    assert list(found.values()) == [hash_file(tmp_path / path) for path in text.values()]
