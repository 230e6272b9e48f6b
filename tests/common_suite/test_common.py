"""transformers' common tests for every native family: a class for each of its tiny models, and one for its backbone.

The classes follow from the registry and from `families.SPECS`, for example `TestTwinsSvt` and `TestTwinsBackbone`.
"""

import unittest

from base import CommonBackboneTests, CommonModelTests, FamilyTester
from families import SPECS, CommonCase, FamilySpec

from hf_vit_family.families import FAMILIES


def make_tester(spec: FamilySpec, case: CommonCase) -> type[FamilyTester]:
    members = {
        "config_class": spec.class_of("config"),
        "model_class": spec.class_of("model"),
        "classification_class": spec.class_of("classification"),
        "backbone_class": spec.class_of("backbone"),
        "config_fields": case.config,
        "hidden_state_shapes": case.hidden_state_shapes,
        "attention_shapes": case.attention_shapes,
    }
    return type("Tester", (FamilyTester,), members)


for _spec in SPECS.values():
    _title = FAMILIES[_spec.name].classes.removeprefix("Hfvf")
    _testers = {name: make_tester(_spec, case) for name, case in _spec.common.items()}
    _tests = {f"Test{_title}{name}": (CommonModelTests, family_tester) for name, family_tester in _testers.items()}
    _tests[f"Test{_title}Backbone"] = (CommonBackboneTests, next(iter(_testers.values())))
    for _name, (_base, _tester) in _tests.items():
        # `__module__`: where pytest and pickle look for it
        globals()[_name] = type(_name, (_base, unittest.TestCase), {"family_tester": _tester, "__module__": __name__})
