"""What a run has measured so far, so that one that was cut goes on where it was.

A text file: a line of JSON with the parameters, then one for each measurement, with its key. A last line
that is not whole is dropped.
"""

import json
import os


class Journal:
    def __init__(self, path: str, parameters: dict):
        """Goes on with a file of the same parameters; SystemExit for one of others."""
        self._found: dict[tuple, dict] = {}
        lines = _lines(path)
        try:
            there = dict(json.loads(lines[0])) if lines else parameters
            for line in lines[1:]:
                key, entry = json.loads(line)
                self._found[tuple(key)] = dict(entry)
        except (ValueError, TypeError) as error:
            raise SystemExit(f"{path} is no journal of this bench ({error}); remove it or name another") from error
        if there != parameters:
            changed = ", ".join(name for name in parameters if there.get(name) != parameters[name])
            raise SystemExit(f"{path} is of a run with another {changed}; remove it or name another")
        self.goes_on = bool(lines)  # with what an earlier run measured
        with open(path + ".part", "w") as file:
            file.writelines(line + "\n" for line in lines or [json.dumps(parameters)])
        os.replace(path + ".part", path)
        self._path = path

    def get(self, *key) -> dict | None:
        return self._found.get(key)

    def add(self, entry: dict, *key) -> None:
        self._found[key] = entry
        with open(self._path, "a") as file:
            file.write(json.dumps([key, entry]) + "\n")


def _lines(path: str) -> list[str]:
    if not os.path.exists(path):
        return []
    with open(path) as file:
        return [line.rstrip("\n") for line in file if line.endswith("\n")]
