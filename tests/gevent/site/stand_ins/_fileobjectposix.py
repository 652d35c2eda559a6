"""The name that test__fileobject imports. Its tests of this class itself are in internals.txt."""


class GreenOpenDescriptor:
    pass
