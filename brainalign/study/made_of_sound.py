"""What do features of sound make of what was heard?"""

from brainalign.study.making import Make
from brainalign.study.section import Feature

OF_SOUND: dict[type[Feature], Make] = {}
