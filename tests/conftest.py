"""How examples are drawn: no time limit for one (machines are shared), and on CI the same ones every time."""

import os

from hypothesis import settings

settings.register_profile("brainalign", deadline=None, derandomize="CI" in os.environ)
settings.load_profile("brainalign")
