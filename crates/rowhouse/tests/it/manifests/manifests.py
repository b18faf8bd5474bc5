"""Reads manifests as others do: PyYAML, and the API server's own schemas (kubernetes-validate), strict, for each version.

manifests.py read FILE…      all documents as one JSON list
manifests.py check FILE…     says what is wrong with them; ends with 1 if anything is
"""

import functools
import json
import sys

import yaml
from kubernetes_validate import utils

VERSIONS = ["1.30", "1.31", "1.32", "1.33", "1.34", "1.35", "1.36", "1.37"]


def documents(files):
    for name in files:
        with open(name, encoding="utf-8") as file:
            for document in yaml.safe_load_all(file):
                yield name, document


def check(files):
    # The schemas of a version are some megabytes: each is read once.
    utils.schema_contents = functools.lru_cache(maxsize=None)(utils.schema_contents)
    found = list(documents(files))
    wrong = []
    for version in VERSIONS:
        for name, document in found:
            try:
                utils.validate(document, version, strict=True)
            except utils.ValidationError as error:
                place = "/".join(str(part) for part in error.path)
                wrong.append(f"{version}: {name}: {document['kind']}: {place}: {error.message}")
            except utils.SchemaNotFoundError as error:
                wrong.append(f"{version}: {name}: {error.message}")
    print("\n".join(wrong) or f"{len(found)} documents are valid in {len(VERSIONS)} versions")
    return 1 if wrong or not found else 0


if __name__ == "__main__":
    if sys.argv[1] == "read":
        print(json.dumps([document for _, document in documents(sys.argv[2:])]))
        sys.exit(0)
    sys.exit(check(sys.argv[2:]))
