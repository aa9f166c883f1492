"""The command line: one module per command, each turning arguments into one library call.

What can be wrong with a command line is checked before torch and Detectron2 are imported, which takes seconds: `run` of
a command checks names and paths first, with modules that import neither, and imports the library after that.
"""
