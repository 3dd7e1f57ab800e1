"""The programs that run functions, each in a process of its own.

They start in a few milliseconds: they import nothing but small parts of the standard library, and
never the package's public names (`boot.py` sees to that).
"""
