"""Videos on the command line: `mofe restore clip.mp4`. Needs PyAV, the extra `[video]`."""
