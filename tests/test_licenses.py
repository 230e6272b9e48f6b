"""Which license may stand over which."""

import pytest

from hf_vit_family.families.registry import CHECKPOINTS, FAMILIES
from hf_vit_family.hub.licenses import LICENSES, check_license, find_conflict, find_license


@pytest.mark.parametrize("base", [None, "mit", "apache-2.0", "bsd-3-clause", "cc-by-4.0", "cc0-1.0"])
@pytest.mark.parametrize("own", ["mit", "apache-2.0", "cc-by-nc-4.0", "gpl-3.0", "other"])
def test_free_weights_may_become_anything(own, base):
    assert find_conflict(own, base_license=base, data_license=base) is None


@pytest.mark.parametrize(
    ("own", "base", "message"),
    [
        ("apache-2.0", "cc-by-nc-4.0", "forbids commercial use"),
        ("mit", "apple-amlr", "forbids commercial use"),
        ("apache-2.0", "gpl-3.0", "has to be kept"),
        ("cc-by-4.0", "cc-by-sa-4.0", "has to be kept"),
        ("cc-by-sa-3.0", "cc-by-sa-4.0", "has to be kept"),
        ("cc-by-nc-4.0", "cc-by-nc-sa-4.0", "has to be kept"),
        ("cc-by-nd-4.0", "cc-by-nd-4.0", "forbids to share what was made from it"),
        ("cc-by-nc-nd-4.0", "cc-by-nc-nd-4.0", "forbids to share what was made from it"),
        ("mit", "llama2", "whose terms have to be passed on"),
        ("mit", "other", "whose terms have to be passed on"),
        ("mit", "openrail", "whose terms have to be passed on"),
        ("mit", "unknown", "is not known"),
        ("unknown", "unknown", "is not known"),
    ],
)
def test_conflicts_with_the_base_model(own, base, message):
    sentence = find_conflict(own, base_license=base)
    assert message in sentence and sentence.endswith(".") and "\n" not in sentence


@pytest.mark.parametrize(
    ("own", "base"),
    [
        ("gpl-3.0", "gpl-3.0"),
        ("cc-by-sa-4.0", "cc-by-sa-3.0"),
        ("cc-by-nc-sa-4.0", "cc-by-nc-sa-2.0"),
        ("cc-by-nc-4.0", "cc-by-nc-4.0"),
        ("cc-by-nc-sa-4.0", "cc-by-nc-4.0"),
        ("llama2", "llama2"),
        ("other", "other"),
    ],
)
def test_what_keeps_the_terms_of_the_base_model(own, base):
    assert find_conflict(own, base_license=base) is None


def test_conflicts_with_the_data():
    assert "forbids commercial use" in find_conflict("apache-2.0", data_license="cc-by-nc-4.0")
    assert find_conflict("cc-by-nc-4.0", data_license="cc-by-nc-sa-4.0") is None
    for stated in ("cc-by-sa-4.0", "other", "unknown", "odbl"):
        assert find_conflict("apache-2.0", data_license=stated) is None


def test_a_change_of_format_keeps_the_license():
    assert find_conflict("apache-2.0", converted_from="apache-2.0") is None
    assert find_conflict("cc-by-nd-4.0", converted_from="cc-by-nd-4.0") is None
    assert "does not alter" in find_conflict("mit", converted_from="apache-2.0")


def test_identifiers():
    assert all(key == license.id and license.title for key, license in LICENSES.items())
    with pytest.raises(ValueError, match=r"'Apache-2\.0' is no identifier of the Hub; the nearest are apache-2\.0"):
        find_license("Apache-2.0")
    with pytest.raises(ValueError, match="The license of the data 'zzz' is no identifier"):
        find_conflict("mit", data_license="zzz")
    check_license("other", "Mine", "https://example.org/license")
    for name, title, link in (("other", None, None), ("other", "Mine", None), ("unknown", None, None)):
        with pytest.raises(ValueError):
            check_license(name, title, link)


def test_the_licenses_of_native_checkpoints_are_known():
    for variant, checkpoint in CHECKPOINTS.values():
        family = FAMILIES[variant.family]
        if family.native:
            assert checkpoint.license in LICENSES
