# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""The licenses a card may name, by the Hub's identifiers, and which of them cannot stand over which.

The rules are few and lean to the careful side; they are no legal advice. What they rest on:

* a model made from weights under a license without derivatives may not be shared (CC BY-ND 4.0, 2(a)(1)(B));
* weights under a non-commercial license stay non-commercial (CC BY-NC 4.0, 2(a)(1)), and so does what was trained on
  non-commercial data, as training is a use of it;
* weights under a license with share-alike keep that license, or a later version of it where Creative Commons says so
  (CC BY-SA 4.0, 3(b)(1); GPL 3.0, 5(c); MPL 2.0, 3.1; ODbL 1.0, 4.4);
* weights under terms of their own (the OpenRAIL, Llama and Gemma families: restrictions have to be passed on; `other`)
  keep those terms; without a known license there is no permission at all;
* share-alike and terms of data are stated and not extended to the model: whether a model is an adaptation of what it
  was trained on is not settled, and some say that it is not (CDLA Sharing 1.0, 3.5, on results);
* a change of format alone keeps the license of its source.
"""

import difflib
import re
from dataclasses import dataclass


@dataclass(frozen=True)
class License:
    """A license by the Hub's identifier.

    Attributes:
        id: the identifier, for example `"apache-2.0"`.
        title: for people.
        noncommercial: whether it forbids commercial use.
        no_derivatives: whether it forbids to share what was made from the work.
        share_alike: whether what is made from the work has to stay under it.
        own_terms: whether it has terms that have to be passed on, or that the identifier does not tell.
    """

    id: str
    title: str
    noncommercial: bool = False
    no_derivatives: bool = False
    share_alike: bool = False
    own_terms: bool = False


_FREE = {
    "apache-2.0": "Apache License 2.0",
    "mit": "MIT License",
    "afl-3.0": "Academic Free License 3.0",
    "apple-ascl": "Apple Sample Code License",
    "artistic-2.0": "Artistic License 2.0",
    "bsd": "BSD license family",
    "bsd-2-clause": "BSD 2-Clause License",
    "bsd-3-clause": "BSD 3-Clause License",
    "bsd-3-clause-clear": "BSD 3-Clause Clear License",
    "bsl-1.0": "Boost Software License 1.0",
    "c-uda": "Computational Use of Data Agreement 1.0",
    "cc": "Creative Commons license family",
    "cc0-1.0": "Creative Commons Zero 1.0",
    "cc-by-2.0": "Creative Commons Attribution 2.0",
    "cc-by-2.5": "Creative Commons Attribution 2.5",
    "cc-by-3.0": "Creative Commons Attribution 3.0",
    "cc-by-4.0": "Creative Commons Attribution 4.0",
    "cdla-permissive-1.0": "Community Data License Agreement, Permissive 1.0",
    "cdla-permissive-2.0": "Community Data License Agreement, Permissive 2.0",
    "ecl-2.0": "Educational Community License 2.0",
    "etalab-2.0": "Etalab Open License 2.0",
    "isc": "ISC License",
    "lppl-1.3c": "LaTeX Project Public License 1.3c",
    "ncsa": "University of Illinois/NCSA Open Source License",
    "odc-by": "Open Data Commons Attribution License",
    "pddl": "Open Data Commons Public Domain Dedication and License",
    "postgresql": "PostgreSQL License",
    "unlicense": "The Unlicense",
    "wtfpl": "Do What The F*ck You Want To Public License",
    "zlib": "zlib License",
}
_SHARE_ALIKE = {
    "agpl-3.0": "GNU Affero General Public License 3.0",
    "cc-by-sa-3.0": "Creative Commons Attribution Share Alike 3.0",
    "cc-by-sa-4.0": "Creative Commons Attribution Share Alike 4.0",
    "cdla-sharing-1.0": "Community Data License Agreement, Sharing 1.0",
    "epl-1.0": "Eclipse Public License 1.0",
    "epl-2.0": "Eclipse Public License 2.0",
    "eupl-1.1": "European Union Public License 1.1",
    "eupl-1.2": "European Union Public License 1.2",
    "gfdl": "GNU Free Documentation License family",
    "gpl": "GNU General Public License family",
    "gpl-2.0": "GNU General Public License 2.0",
    "gpl-3.0": "GNU General Public License 3.0",
    "lgpl": "GNU Lesser General Public License family",
    "lgpl-2.1": "GNU Lesser General Public License 2.1",
    "lgpl-3.0": "GNU Lesser General Public License 3.0",
    "lgpl-lr": "Lesser General Public License For Linguistic Resources",
    "mpl-2.0": "Mozilla Public License 2.0",
    "ms-pl": "Microsoft Public License",
    "odbl": "Open Database License",
    "ofl-1.1": "SIL Open Font License 1.1",
    "osl-3.0": "Open Software License 3.0",
}
_NONCOMMERCIAL = {
    "apple-amlr": "Apple Machine Learning Research Model License",
    "cc-by-nc-2.0": "Creative Commons Attribution Non Commercial 2.0",
    "cc-by-nc-3.0": "Creative Commons Attribution Non Commercial 3.0",
    "cc-by-nc-4.0": "Creative Commons Attribution Non Commercial 4.0",
    "cc-by-nc-nd-3.0": "Creative Commons Attribution Non Commercial No Derivatives 3.0",
    "cc-by-nc-nd-4.0": "Creative Commons Attribution Non Commercial No Derivatives 4.0",
    "cc-by-nc-sa-2.0": "Creative Commons Attribution Non Commercial Share Alike 2.0",
    "cc-by-nc-sa-3.0": "Creative Commons Attribution Non Commercial Share Alike 3.0",
    "cc-by-nc-sa-4.0": "Creative Commons Attribution Non Commercial Share Alike 4.0",
    "deepfloyd-if-license": "DeepFloyd IF Research License Agreement",
    "fair-noncommercial-research-license": "FAIR Noncommercial Research License",
    "intel-research": "Intel Research Use License Agreement",
}
_OWN_TERMS = {
    "bigcode-openrail-m": "BigCode Open RAIL-M",
    "bigscience-bloom-rail-1.0": "BigScience BLOOM RAIL 1.0",
    "bigscience-openrail-m": "BigScience OpenRAIL-M",
    "creativeml-openrail-m": "CreativeML OpenRAIL-M",
    "gemma": "Gemma Terms of Use",
    "llama2": "Llama 2 Community License Agreement",
    "llama3": "Llama 3 Community License Agreement",
    "llama3.1": "Llama 3.1 Community License Agreement",
    "llama3.2": "Llama 3.2 Community License Agreement",
    "llama3.3": "Llama 3.3 Community License Agreement",
    "llama4": "Llama 4 Community License Agreement",
    "openrail": "OpenRAIL license family",
    "openrail++": "Open RAIL++-M",
    "other": "a license of its own",
    "unknown": "not known",
}
# families of Creative Commons licenses whose later versions may replace the earlier ones
_VERSION = re.compile(r"(cc-by(?:-nc)?-sa)-(\d\.\d)")

LICENSES: dict[str, License] = {
    **{key: License(key, title) for key, title in _FREE.items()},
    **{key: License(key, title, share_alike=True) for key, title in _SHARE_ALIKE.items()},
    **{
        key: License(key, title, noncommercial=True, no_derivatives="-nd-" in key, share_alike="-nc-sa-" in key)
        for key, title in _NONCOMMERCIAL.items()
    },
    "cc-by-nd-4.0": License("cc-by-nd-4.0", "Creative Commons Attribution No Derivatives 4.0", no_derivatives=True),
    **{key: License(key, title, own_terms=True) for key, title in _OWN_TERMS.items()},
}


def find_license(name: str, what: str = "license") -> License:
    """The license with one of the Hub's identifiers.

    Args:
        name: the identifier.
        what: whose license it is, for the message.

    Raises:
        ValueError: no such identifier; says the nearest.
    """
    if name in LICENSES:
        return LICENSES[name]
    nearest = difflib.get_close_matches(str(name).lower(), LICENSES, n=3, cutoff=0.5)
    known = f"the nearest are {', '.join(nearest)}" if nearest else "for example apache-2.0, mit or cc-by-4.0"
    raise ValueError(f"The {what} {name!r} is no identifier of the Hub; {known}, and `other` for any else.")


def check_license(name: str, license_name: str | None = None, license_link: str | None = None) -> None:
    """Refuse a license that a model cannot be published under.

    Args:
        name: the Hub's identifier.
        license_name, license_link: of a license that the Hub has no identifier for; with `other`, and only there.

    Raises:
        ValueError: an unknown identifier; `unknown`; `other` without name and link.
    """
    find_license(name)
    if name == "unknown":
        raise ValueError("The license 'unknown' gives nobody a permission; expected the license you publish under.")
    if name == "other" and not (license_name and license_link):
        raise ValueError("The license 'other' needs a license name and a link to its text.")
    if name != "other" and (license_name or license_link):
        raise ValueError(f"A license name or link was given with {name!r}; they go with 'other' only.")


def find_conflict(
    license: str, *, base_license: str | None = None, data_license: str | None = None, converted_from: str | None = None
) -> str | None:
    """Why a model cannot be published under a license, in one sentence; None where nothing known is against it.

    Args:
        license: of the model.
        base_license: of the weights that it was trained from.
        data_license: of the data that it was trained on.
        converted_from: of the weights that were converted, without training.

    Raises:
        ValueError: an identifier that the Hub does not know.
    """
    own = find_license(license)
    if converted_from is not None and find_license(converted_from, "license of the source").id != own.id:
        return (
            f"The model was converted from weights under {converted_from}, which a change of format does not alter; "
            f"it cannot be published under {license}."
        )
    if base_license is not None:
        conflict = _base_conflict(own, find_license(base_license, "license of the base model"))
        if conflict:
            return conflict
    if data_license is not None:
        data = find_license(data_license, "license of the data")
        if data.noncommercial and not own.noncommercial:
            return (
                f"The data is under {data.id}, which forbids commercial use; a model trained on it cannot be published "
                f"under {own.id}, which allows it."
            )
    return None


def _base_conflict(own: License, base: License) -> str | None:
    beginning = f"The base model is under {base.id}"
    if base.id == "unknown":
        return "The license of the base model is not known, so nothing permits to publish what was made from it."
    if base.no_derivatives:
        return f"{beginning}, which forbids to share what was made from it."
    if base.share_alike and not _same_or_later(own.id, base.id):
        return f"{beginning}, which has to be kept; what was made from it cannot be published under {own.id}."
    if base.own_terms and own.id != base.id:
        return f"{beginning}, whose terms have to be passed on; the model cannot be published under {own.id}."
    if base.noncommercial and not own.noncommercial:
        return (
            f"{beginning}, which forbids commercial use; what was made from it cannot be published under {own.id}, "
            "which allows it."
        )
    return None


def _same_or_later(own: str, base: str) -> bool:
    if own == base:
        return True
    ours, theirs = _VERSION.fullmatch(own), _VERSION.fullmatch(base)
    return bool(ours and theirs and ours[1] == theirs[1] and ours[2] > theirs[2])
