from .errors import BrainalignError as BrainalignError
from .errors import InputError as InputError
from .errors import SettingsError as SettingsError
from .signals import Signal as Signal
from .signals import average_people as average_people
from .signals import concatenate as concatenate
from .signals import join as join

__version__: str
