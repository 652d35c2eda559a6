"""The names that test__fileobject imports. Its tests of these classes themselves are in internals.txt."""


class OpenDescriptor:
    pass


class WriteallMixin:
    pass
