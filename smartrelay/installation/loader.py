"""What the bundle does when the stub runs it: makes the enqueue path's modules without looking for each.

Its code travels inside the bundle (`bundle`), so it may import only what is there when an interpreter starts. It makes the
modules itself: to go through `import` with a finder of its own costs a twelfth of the whole command.
"""

import _thread
import marshal
import posix
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import CodeType

    Part = tuple[str, str, bool, int, int, CodeType | bytes]


def install(parts: "list[Part]") -> None:
    """Makes the modules, if every source still is what it was made from: then as now a .pyc would be good.

    parts: name, source, whether it is a package, time of change in nanoseconds and size of the source, code; each after
    those that it imports. Code that is still octets is run when something of its module is asked for.
    """
    for _, source, _, modified, size, _ in parts:
        try:
            status = posix.stat(source)
        except OSError:
            return
        if status.st_mtime_ns != modified or status.st_size != size:
            return
    modules = sys.modules
    for name, source, is_package, _, _, code in parts:
        if name in modules:  # one before it has imported it in the usual way: there must not be two
            continue
        module = type(sys)(name)
        parent, _, last = name.rpartition(".")
        module.__file__ = source
        module.__package__ = name if is_package else parent
        if is_package:  # its other modules are found in the usual way
            module.__path__ = [source.rpartition("/")[0]]
        modules[name] = module
        try:
            if isinstance(code, bytes):
                _put_off(module.__dict__, code)
            else:
                exec(code, module.__dict__)
        except BaseException:
            del modules[name]
            raise
        if parent:
            setattr(modules[parent], last, module)


def _put_off(space: "dict[str, object]", code: bytes) -> None:
    """Has the code run for the module of this name space when a name of it is missing (`__getattr__` of a module)."""
    lock = _thread.RLock()

    def run(name: str) -> object:
        with lock:
            if "__getattr__" in space:
                # elsewhere, so that another thread finds all of it or nothing
                whole = {**space}
                del whole["__getattr__"]
                exec(marshal.loads(code), whole)
                space.update(whole)
                del space["__getattr__"]
        try:
            return space[name]
        except KeyError:
            raise AttributeError(name) from None

    space["__getattr__"] = run
