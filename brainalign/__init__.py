"""brainalign: how well do a model's features predict a brain, and how well could anything?

The names below are imported when they are first used, so that `import brainalign` stays quick (SPEC 1).
"""

import lazy_loader

__version__ = "0.1.0"
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
