"""The primitives beside plain models of them, driven step by step by hypothesis."""
