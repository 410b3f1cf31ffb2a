"""The commands of `mofe`, a file each; a command takes the parsed arguments and returns the exit status.

Everything heavy is imported inside the commands, so that `mofe --help` answers at once.
"""
