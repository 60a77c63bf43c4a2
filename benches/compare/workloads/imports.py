"""Import two large packages."""

import numpy  # noqa: F401
import pandas  # noqa: F401
