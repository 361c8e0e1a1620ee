"""What do features of pictures and film make of what was seen?"""

from brainalign.study.making import Make
from brainalign.study.section import Feature

OF_PICTURES: dict[type[Feature], Make] = {}
