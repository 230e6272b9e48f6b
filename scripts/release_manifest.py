# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""Freezes the remote code of a release: `python scripts/release_manifest.py [VERSION]`, once, when the release is made.

The entry goes to the end of `hf_vit_family/assets/remote_code_manifest.json` and never changes again: from then on any
change to those files needs a higher HFVF_VERSION.
"""

import argparse

from hf_vit_family.models.compat import HFVF_VERSION
from hf_vit_family.programs import as_program
from hf_vit_family.remote_code import add_release


@as_program
def main() -> None:
    """Append the entry, and say what it holds."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("version", nargs="?", default=HFVF_VERSION, help="%(default)s by default")
    try:
        release = add_release(parser.parse_args().version)
    except ValueError as error:
        raise SystemExit(str(error)) from None
    print(f"Release {release.version} of {release.date}: {len(release.files)} files frozen.")


if __name__ == "__main__":
    main()
