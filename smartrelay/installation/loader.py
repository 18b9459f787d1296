"""What the bundle does when the stub runs it: gives the enqueue path's modules to `import` without looking for each.

Its code travels inside the bundle (`bundle`), so it may import only what is there when an interpreter starts.
"""

import posix
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import CodeType, ModuleType

    Part = tuple[str, str, bool, int, int, CodeType]


def install(parts: "list[Part]") -> None:
    """Puts the modules before all others, if every source still is what it was made from: then as now a .pyc would be.

    parts: name, source, whether it is a package, time of change in nanoseconds and size of the source, code.
    """
    codes = {}
    for name, source, is_package, modified, size, code in parts:
        try:
            status = posix.stat(source)
        except OSError:
            return
        if status.st_mtime_ns != modified or status.st_size != size:
            return
        codes[name] = source, is_package, code
    spec = type(sys.__spec__)

    class Bundle:
        """Finder and loader in one."""

        @staticmethod
        def find_spec(name: str, path: object = None, target: object = None) -> object:
            found = codes.get(name)
            if found is None:
                return None
            source, is_package, _ = found
            made = spec(name, Bundle, origin=source, is_package=is_package)  # type: ignore[arg-type]
            made.has_location = True
            if is_package:  # its other modules are found in the usual way
                made.submodule_search_locations = [source.rpartition("/")[0]]
            return made

        @staticmethod
        def create_module(made: object) -> None:
            return None

        @staticmethod
        def exec_module(module: "ModuleType") -> None:
            exec(codes[module.__name__][2], module.__dict__)

    sys.meta_path.insert(0, Bundle)  # type: ignore[arg-type]
