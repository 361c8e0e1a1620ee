"""What do the named parts of a network give while it runs?"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from brainalign.errors import SettingsError, did_you_mean


def outputs_of(network: Any, names: Sequence[str], run: Callable[[], Any], keep: Callable[[Any], Any]) -> list[Any]:
    """The outputs of some modules of a network, from one run of it.

    Parameters
    ----------
    network : torch module
    names : list of str
        Of modules, as `network.named_modules` has them ("layer3.0.relu").
    run : function
        Runs the network once.
    keep : function
        Output → what is kept of it, called as soon as it is there: what comes later may write over it in place, so keep
        something new, not a view. Of a module that gives several things it gets the first tensor.

    Returns
    -------
    list
        What was kept, in the order of the names.

    Raises
    ------
    SettingsError
        No such module; one that did not run, ran more than once, or gave no tensor.

    Examples
    --------
    >>> import torch
    >>> network = torch.nn.Sequential(torch.nn.Identity(), torch.nn.ReLU(inplace=True))
    >>> x = torch.tensor([-1.0, 2.0])
    >>> [kept.tolist() for kept in outputs_of(network, ["0", "1"], lambda: network(x), torch.clone)]
    [[-1.0, 2.0], [0.0, 2.0]]
    """
    modules = modules_of(network, names)
    kept: dict[str, Any] = {}

    def hook(name: str) -> Callable[..., None]:
        def watch(module: Any, given: Any, output: Any) -> None:
            if name in kept:
                raise SettingsError(
                    f"module {name!r} runs more than once for a picture, so it is no layer: name the modules it is "
                    "used by"
                )
            kept[name] = keep(_tensor(output, name))

        return watch

    handles = [module.register_forward_hook(hook(name)) for name, module in modules.items()]
    try:
        run()
    finally:
        for handle in handles:
            handle.remove()
    idle = [name for name in modules if name not in kept]
    if idle:
        raise SettingsError(
            f"module {idle[0]!r} did not run: a network may hold parts that it does not use, or calls by another name"
        )
    return [kept[name] for name in names]


def modules_of(network: Any, names: Sequence[str]) -> dict[str, Any]:
    """Name → module.

    Raises
    ------
    SettingsError
        No module of that name; the closest is named.
    """
    known = dict(network.named_modules())
    for name in names:
        if name not in known or name == "":
            raise SettingsError(f"the network has no module {name!r}; {did_you_mean(name, filter(None, known))}")
    return {name: known[name] for name in names}


def _tensor(output: Any, name: str) -> Any:
    """The first tensor a module gave, whatever it was wrapped in."""
    import torch

    if isinstance(output, torch.Tensor):
        return output
    inside = output.values() if isinstance(output, dict) else output if isinstance(output, (tuple, list)) else ()
    for part in inside:
        if isinstance(part, torch.Tensor):
            return part
    raise SettingsError(f"module {name!r} gives no tensor but a {type(output).__name__}: name one inside it")
