"""Messages on the socket between the server and the template: of one length each way."""

from struct import Struct
from typing import Final

COMMAND: Final = Struct(">cI")  # FORK or KILL, and an id; FORK comes with a file descriptor
EXIT: Final = Struct(">Ii")  # an id, and an exit code: of a signal, its negative number
FORK: Final = b"F"
KILL: Final = b"K"
# The id with which the template says that it has imported everything. The code is 0, or the error
# number if decoders run without a filter of system calls.
READY: Final = 0
