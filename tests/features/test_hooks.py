import pytest
import torch

from brainalign.errors import SettingsError
from brainalign.features.hooks import outputs_of


class Odd(torch.nn.Module):
    """Uses one part twice, one never, one that gives several things, and writes over its input."""

    def __init__(self):
        super().__init__()
        self.twice, self.never = torch.nn.Linear(4, 4), torch.nn.Linear(4, 4)
        self.conv, self.norm, self.act = torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4), torch.nn.ReLU(inplace=True)
        self.lstm = torch.nn.LSTM(4, 4)
        self.words = Words()

    def forward(self, x):
        x = self.act(self.norm(self.conv(x))).mean((2, 3))
        x = self.twice(self.twice(x))
        self.words(x)
        return self.lstm(x)[0]


class Words(torch.nn.Module):
    def forward(self, x):
        return "no tensor"


@pytest.fixture
def odd():
    torch.manual_seed(0)
    return Odd().eval()


def test_what_is_kept_is_what_a_forward_by_hand_gives_bit_for_bit_before_anything_writes_over_it(odd):
    x = torch.rand(2, 3, 8, 8)
    with torch.inference_mode():
        conv = odd.conv(x)
        norm = odd.norm(conv)
        by_hand = [conv, norm, torch.relu(norm), odd(x)]
        kept = outputs_of(odd, ["conv", "norm", "act", "lstm"], lambda: odd(x), torch.clone)
    assert all(torch.equal(a, b) for a, b in zip(kept, by_hand, strict=True))


def test_names_come_back_in_the_order_they_were_asked_for_and_no_hook_stays(odd):
    x = torch.rand(1, 3, 8, 8)
    act, conv = outputs_of(odd, ["act", "conv"], lambda: odd(x), torch.clone)
    assert torch.equal(act, torch.relu(odd.norm(conv)))
    with pytest.raises(ZeroDivisionError):
        outputs_of(odd, ["act"], lambda: 1 / 0, torch.clone)
    assert not any(module._forward_hooks for module in odd.modules())


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("convv", r"has no module 'convv'; did you mean 'conv'\?"),
        ("", "has no module ''"),
        ("twice", "'twice' runs more than once for a picture"),
        ("never", "'never' did not run"),
        ("words", "'words' gives no tensor but a str"),
    ],
)
def test_what_is_no_layer_is_said(odd, name, message):
    with pytest.raises(SettingsError, match=message):
        outputs_of(odd, [name], lambda: odd(torch.rand(1, 3, 8, 8)), torch.clone)
