"""The record of what setup did, so that it can be taken away again and nothing else with it."""

import json
import os
from collections.abc import Iterator

from smartrelay.errors import CannotCreate

Entry = dict[str, str]


class Record:
    """A list of entries in the order of the deeds. Each is written down before its deed: a deed that did not happen
    is found undone when it is taken back, one that is not in the record would stay for ever."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._entries: list[Entry] = []
        try:
            with open(path, encoding="utf-8") as file:
                self._entries = list(json.load(file)["entries"])
        except FileNotFoundError:
            pass
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise CannotCreate(f"the record of the installation, {path}, cannot be read: {error}") from error

    def __iter__(self) -> Iterator[Entry]:
        return iter(list(self._entries))

    def __len__(self) -> int:
        return len(self._entries)

    def find(self, kind: str, path: str) -> Entry | None:
        """The entry of this kind for this path."""
        return next((e for e in self._entries if e["kind"] == kind and e["path"] == path), None)

    def add(self, kind: str, path: str, **facts: str) -> None:
        """Writes down a deed; one that is in the record keeps its place in the order and takes the new facts."""
        entry = {"kind": kind, "path": path, **facts}
        known = self.find(kind, path)
        if known is None:
            self._entries.append(entry)
        elif known == entry:
            return
        else:
            known.clear()
            known.update(entry)
        # The first entries are the directories that lead to the record itself.
        if os.path.isdir(os.path.dirname(self.path)):
            self._save()

    def forget(self, entry: Entry) -> None:
        """Takes an entry out; the file goes with the last that is not a directory, for directories must be empty to
        go."""
        self._entries.remove(entry)
        if all(e["kind"] == "directory" for e in self._entries):
            if os.path.exists(self.path):
                os.unlink(self.path)
        else:
            self._save()

    def _save(self) -> None:
        written = f"{self.path}.new"
        with open(written, "w", encoding="utf-8") as file:
            json.dump({"made by": "smartrelay setup", "entries": self._entries}, file, indent=1)
            file.write("\n")
        os.chmod(written, 0o644)
        os.replace(written, self.path)
