import pytest

from brainalign.errors import InputError
from brainalign.shipped import cards, find_shipped, read_cards, shipped


@pytest.fixture
def checkout(tmp_path):
    (tmp_path / "brainalign").mkdir()
    for name, text in {
        "datasets/models/tiny/card.yaml": "title: Tiny\nlayers: 5\n",
        "datasets/models/empty-folder/README.md": "no card here",
        "datasets/cards/alice.yaml": "title: Alice – a story\n",
        "datasets/sample/alice/participants.tsv": "participant_id\n",
    }.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return tmp_path


def test_in_a_checkout_files_lie_under_datasets(checkout):
    found = find_shipped(checkout / "brainalign", "sample", "alice", "participants.tsv")
    assert found == checkout / "datasets/sample/alice/participants.tsv"


def test_in_a_wheel_files_lie_inside_the_package(checkout):
    (checkout / "brainalign/_shipped/cards").mkdir(parents=True)
    # a stranger's folder `datasets` beside the installed package must not be taken for ours
    assert find_shipped(checkout / "brainalign", "cards") == checkout / "brainalign/_shipped/cards"


def test_a_missing_file_is_named_with_the_closest(checkout):
    with pytest.raises(InputError, match=r"sample/alise did not come with brainalign; did you mean 'alice'\?"):
        find_shipped(checkout / "brainalign", "sample", "alise")


def test_a_package_without_shipped_files_says_so(tmp_path):
    with pytest.raises(InputError, match=r"cards did not come with brainalign"):
        find_shipped(tmp_path / "brainalign", "cards")


def test_cards_are_read_by_name(checkout):
    folder = checkout / "datasets"
    assert read_cards(folder, "models") == {"tiny": {"title": "Tiny", "layers": 5}}
    assert read_cards(folder, "datasets") == {"alice": {"title": "Alice – a story"}}


@pytest.mark.parametrize(
    ("text", "message"), [("- a list", r"bad\.yaml is not a card.*found list"), ("a: [", r"bad\.yaml is not YAML")]
)
def test_a_card_that_is_none_is_refused(checkout, text, message):
    (checkout / "datasets/cards/bad.yaml").write_text(text)
    with pytest.raises(InputError, match=message):
        read_cards(checkout / "datasets", "datasets")


def test_the_package_ships_its_models_and_data_sets():
    assert {"stories260k", "smollm2-135m"} <= set(cards("models"))
    assert "alice" in " ".join(cards("datasets"))
    assert shipped("sample", "alice").is_dir()
