"""Starts Synapse with the testbed's homeserver names resolved inside the process.

TRIO_HOSTS="127.0.0.11 apotheek,127.0.0.12 huisarts,127.0.0.13 vvt" python hs_run.py -c homeserver.yaml

Twisted resolves names by `socket.getaddrinfo`, so that one function answers for the testbed's names and
nobody has to edit the machine's hosts file.
"""

import os
import socket

ADDRESSES = {
    name: address
    for address, name in (line.split() for line in os.environ["TRIO_HOSTS"].split(","))
}
system_getaddrinfo = socket.getaddrinfo


def getaddrinfo(host, *args, **kwargs):
    name = host.decode() if isinstance(host, bytes) else host
    return system_getaddrinfo(ADDRESSES.get(name, host), *args, **kwargs)


socket.getaddrinfo = getaddrinfo

from synapse.app.homeserver import main  # noqa: E402  (the resolver must be in place first)

main()
