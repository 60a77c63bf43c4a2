"""The door to `libheapledger.so`: the only package that imports ctypes.

Owns the loaded library, the prototypes of its functions and the layouts of its structures.
Promises that every status which is an error arrives as an exception with the library's own
sentence, that text of any length arrives whole, and that addresses above this line are plain
integers.
Must never decide anything: what is released, by whom and when is the business of the modules above.

Loading installs no hook and starts nothing. A missing library or one of another version is an
error of the import.
"""
