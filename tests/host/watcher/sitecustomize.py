"""Python imports this at start when its folder is on the path: notes every connection that the process makes.

A line of JSON per connection goes into the file that `MOFE_CONNECTIONS` names: the address, and the files that called.
"""

import json
import os
import sys
import traceback
from pathlib import Path


def _note(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo", "socket.sendto"):
        address = arguments[1] if event != "socket.getaddrinfo" else arguments[:2]
        callers = [frame.filename for frame in traceback.extract_stack()]
        line = json.dumps({"event": event, "address": str(address), "callers": callers})
        with Path(os.environ["MOFE_CONNECTIONS"]).open("a", encoding="utf-8") as file:
            file.write(line + "\n")


if "MOFE_CONNECTIONS" in os.environ:
    sys.addaudithook(_note)
