"""Many small objects alive at once in a C++ library. Arguments: the library, how many."""

import ctypes
import sys

library = ctypes.CDLL(sys.argv[1])
library.objects.argtypes = [ctypes.c_long]
library.objects.restype = ctypes.c_long
library.objects(int(sys.argv[2]))
