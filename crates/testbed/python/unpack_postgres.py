"""Unpacks the archive that a jar of PostgreSQL's programs holds: unpack_postgres.py JAR FOLDER"""

import sys
import tarfile
import zipfile

try:
    import lzma  # noqa: F401, tarfile needs it and would only say so in its own words
except ImportError:
    sys.exit("this Python was built without lzma, which unpacks PostgreSQL; install PostgreSQL itself instead")

jar, folder = sys.argv[1:]
with zipfile.ZipFile(jar) as packed:
    name = next(name for name in packed.namelist() if name.endswith(".txz"))
    with packed.open(name) as stream, tarfile.open(fileobj=stream, mode="r|xz") as archive:
        # Python from 3.12 on asks for a filter; older ones may not know of it.
        known = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}
        archive.extractall(folder, **known)
