import pytest
from hypothesis import given
from hypothesis import strategies as st

import brainalign as ba
from brainalign.errors import BrainalignError, InputError, SettingsError, did_you_mean, need_package, one_message


def test_every_error_is_a_value_error_one_can_catch_by_one_name():
    assert issubclass(InputError, BrainalignError)
    assert issubclass(SettingsError, BrainalignError)
    assert issubclass(BrainalignError, ValueError)
    assert ba.BrainalignError is BrainalignError


@pytest.mark.parametrize(
    ("word", "known", "said"),
    [
        ("subject", ["subjects", "session"], "did you mean 'subjects'?"),
        ("zzz", ["subjects", "session"], "known: 'subjects', 'session'"),
        (2, ["1", "2"], "did you mean '2'?"),
        (2, [1, 3], "known: '1', '3'"),
        ("a", [], "known: "),
    ],
)
def test_the_closest_word_is_named_or_all(word, known, said):
    assert did_you_mean(word, known) == said


@given(st.lists(st.text(alphabet=st.characters(categories=["L", "N"]), min_size=1), min_size=1, max_size=8))
def test_every_problem_is_in_the_message_on_a_line_of_its_own(problems):
    error = one_message(problems, SettingsError)
    assert isinstance(error, SettingsError)
    lines = str(error).split("\n")
    if len(problems) == 1:
        assert lines == problems
    else:
        assert lines[0] == f"{len(problems)} problems:"
        assert [line.removeprefix("  - ") for line in lines[1:]] == problems


def test_a_missing_package_is_named_with_its_extra():
    need_package("pandas", extra="words", what="word_frequency")
    with pytest.raises(
        SettingsError, match=r"word_frequency needs no_wordfreq: run `pip install 'brainalign\[words\]'`"
    ):
        need_package("no_wordfreq", extra="words", what="word_frequency")
