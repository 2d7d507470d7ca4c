"""Plants bugs in the compiler, one at a time, and tells which of them the equivalence tests catch.

    python -m tests.execution.planted_bugs [--only PART_OF_A_NAME] [--write]

Each bug is run with the operations of every run of the tests until an answer differs; `--write` notes the document by
which it was caught in `planted_bugs.json`, from where `test_planted_bugs.py` takes it.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import sys
import time
import warnings
from pathlib import Path
from typing import Final, NamedTuple

from tests.execution.catalogue import CATALOGUE
from tests.execution.ledger_stand_in import LEDGER
from tests.execution.planting import Bug, planted
from tests.execution.subjects import Subject
from tests.execution.trial import OF_ONE_DOCUMENT, trial

SUBJECTS: Final[dict[str, Subject]] = {one.name: one for one in (CATALOGUE, LEDGER)}
OPERATIONS: Final = {CATALOGUE.name: 6_000, LEDGER.name: 14_000}
"""As many as of every run of the tests."""
RECORD: Final = Path(__file__).with_suffix(".json")

BUGS: Final = (
    # Conditions and the plans made for them
    Bug(
        "one plan for all values of the conditions",
        "documents",
        "tuple(variables.coerced.get(name) for name in self._conditions)",
        "()",
    ),
    Bug(
        "plans told apart by the first condition alone",
        "documents",
        "variables.coerced.get(name) for name in self._conditions)",
        "variables.coerced.get(name) for name in self._conditions[:1])",
    ),
    Bug("@include is no condition", "documents", '{"skip", "include"}', '{"skip"}'),
    Bug("a null condition is taken for false", "documents", "variables.coerced.get(name, True) is None", "False"),
    Bug(
        "the first operation of a name, whatever the name",
        "documents",
        "operation.definition.name.value == name",
        "operation.definition.name.value",
    ),
    # Variables and arguments
    Bug("a variable's default is null", "inputs", "coerced[name] = default", "coerced[name] = None"),
    Bug(
        "a required variable may be left out",
        "inputs",
        "if default is Undefined:\n                    return None",
        "if default is Undefined:\n                    continue",
    ),
    Bug(
        "a variable's value stays as it came",
        "inputs",
        "found = read(value)",
        "found = value",
    ),
    Bug(
        "a variable's value of the wrong type is dropped",
        "inputs",
        "if found is Undefined:\n                return None",
        "if found is Undefined:\n                continue",
    ),
    Bug("null for a required argument", "inputs", "if value is None and required:", "if False:"),
    Bug(
        "null for an argument whose variable was left out",
        "inputs",
        "value = coerced.get(variable, Undefined)",
        "value = coerced.get(variable)",
    ),
    Bug("an argument under its variable's name", "inputs", "found[python_name] = value", "found[variable] = value"),
    Bug(
        "arguments with variables are worked out once",
        "inputs",
        "if not uses_variables(node.arguments or ()):",
        "if True:",
    ),
    Bug(
        "variables within lists and objects are left out",
        "inputs",
        "if uses_variables((argument,)):\n                    return False",
        "if uses_variables((argument,)):\n                    pass",
    ),
    Bug("enums and input objects are not converted", "inputs", "None if plain else self._converter(ours.type)", "None"),
    Bug("arguments of the request before", "inputs", "found = dict(self._others)", "found = self._others"),
    Bug(
        "null where an input may not be null",
        "coercion",
        "lambda value: Undefined if value is None",
        "lambda value: None if value is None",
    ),
    Bug(
        "a list of one is no list",
        "coercion",
        "if value.__class__ is not list:\n            return Undefined",
        "if value.__class__ is not list:\n            return value",
    ),
    Bug(
        "a field of the wrong type is left out",
        "coercion",
        "if one is Undefined:\n                        return False",
        "if one is Undefined:\n                        continue",
    ),
    Bug(
        "the items of a list are not converted",
        "coercion",
        "[item(one) for one in value]\n    if isinstance(type_, LazyType)",
        "value\n    if isinstance(type_, LazyType)",
    ),
    Bug(
        "the fields of an input are not converted",
        "coercion",
        "one if convert_field is _identity else convert_field(one)",
        "one",
    ),
    Bug(
        "variables of the request before",
        "plans",
        "        known = run.arguments.get(self)\n        if known is None:\n            known = run.arguments[self] =",
        "        known = self.__dict__.get('known')\n        if known is None:\n            known = self.known =",
    ),
    Bug(
        "arguments of another alias of the field",
        "plans",
        "        known = run.arguments.get(self)\n        if known is None:\n            known = run.arguments[self] =",
        "        key = self._field\n        known = run.arguments.get(key)\n"
        "        if known is None:\n            known = run.arguments[key] =",
    ),
    # Which fields there are
    Bug(
        "of a repeated field the first selection alone",
        "planner",
        "self._subselection(inner, details)",
        "self._subselection(inner, details[:1])",
    ),
    Bug(
        "of a repeated field of an abstract type the first selection alone",
        "planner",
        "self._subselection(one, details)[0]",
        "self._subselection(one, details[:1])[0]",
    ),
    Bug(
        "the field that the alias names",
        "planner",
        "get_field(type_, details[0].node.name.value)",
        "get_field(type_, key)",
    ),
    Bug(
        "all possible types have the selection of the first",
        "planner",
        "self._subselection(one, details)[0]",
        "self._subselection(possible[0], details)[0]",
    ),
    Bug(
        "an object is serialized as the first possible type",
        "plans",
        "self._selections[type_.name]",
        "next(iter(self._selections.values()))",
    ),
    Bug(
        "fields that wait come last",
        "planner",
        "[field.pure or LaterField(field.key) for field in fields]",
        "[field.pure for field in fields if field.pure]",
    ),
    Bug(
        "permissions and extensions are passed over",
        "calls",
        " or definition.extensions or definition.permission_classes",
        "",
    ),
    # Objects and lists
    Bug(
        "the type of an object is not asked",
        "subtrees",
        "(v, None) is not True: surprise()",
        "(v, None) is None: surprise()",
    ),
    Bug("an object of another type is serialized", "plans", "if not is_one:", "if is_one is None:"),
    Bug(
        "nothing and exceptions are read as objects",
        "subtrees",
        "if value is None or value is Undefined or isinstance(value, Exception) or is_awaitable(value)",
        "if is_awaitable(value)",
    ),
    Bug("what is false is null", "subtrees", "(None if {value} is None else", "(None if not {value} else"),
    Bug(
        "items of a list may not be null",
        "subtrees",
        "serialized = self._serialized(type_.of_type, item",
        "serialized = self._certain(type_.of_type, item",
    ),
    Bug("a text is a list of letters", "subtrees", "if {value}.__class__ in LISTS else", "if True else"),
    Bug(
        "null is let pass where no object may be null",
        "plans",
        "return None if value is None and self.nullable else",
        "return None if value is None else",
    ),
    # Errors and nulls
    Bug(
        "fields are missing after a surprise",
        "plans",
        "serialized, later = {}, self._fields",
        "serialized, later = {}, self.later",
    ),
    Bug(
        "an error below nulls the field's parent",
        "plans",
        "return await serialized\n        except Exception as error:  # noqa: BLE001\n            return self.failed",
        "return await serialized\n        except ZeroDivisionError as error:\n            return self.failed",
    ),
    Bug(
        "an error of an item nulls the list",
        "plans",
        "return field.failed(run, error, path, self._item.type)",
        "return field.failed(run, error, path)",
    ),
    Bug("an item's error has the path of its list", "plans", "path.add_key(index, None)", "path"),
    Bug("a path without its types", "plans", "Path(path, field.key, self.type.name)", "Path(path, field.key, None)"),
    Bug(
        "an error of what may be null is lost",
        "plans",
        "run.reference.handle_field_error(error, type_ or self.type, self.details, path)",
        "isinstance(type_ or self.type, GraphQLNonNull) and run.reference.handle_field_error("
        "error, type_ or self.type, self.details, path)",
    ),
    Bug(
        "the error that leaves no data is lost",
        "executor",
        "running.reference.collected_errors.add(error, None)",
        "pass",
    ),
    Bug("one error is told", "operation_run", "collected_errors.errors or None", "collected_errors.errors[:1] or None"),
    Bug(
        "the siblings of a field that failed are null",
        "pending",
        "if isinstance(result, BaseException):\n            raise result",
        "if isinstance(result, BaseException):\n            return [None] * len(results)",
    ),
    # Waiting and order
    Bug(
        "fields are not waited for",
        "plans",
        "return _filled(run, serialized, waiting) if waiting else serialized\n\n    async def execute_serially",
        "return serialized\n\n    async def execute_serially",
    ),
    Bug(
        "items are not waited for",
        "plans",
        "return _filled(run, serialized, waiting) if waiting else serialized\n\n    async def _walked_in_slices",
        "return serialized\n\n    async def _walked_in_slices",
    ),
    Bug(
        "a field of a mutation begins before the one before has ended",
        "plans",
        "self._serial = operation.operation == OperationType.MUTATION",
        "self._serial = False",
    ),
    Bug(
        "a field of a mutation is not waited for",
        "plans",
        "serialized[field.key] = await value if is_pending(value) else value",
        "serialized[field.key] = value",
    ),
    Bug(
        "a field of a mutation is run within nothing",
        "plans",
        "async with around_field(run.context, may_read=field.may_read_below):",
        "if True:",
    ),
    Bug(
        "fields of a mutation in the order of their names",
        "plans",
        "        for field in self._fields:\n            path = Path(None",
        "        for field in sorted(self._fields, key=lambda field: field.key):\n            path = Path(None",
    ),
    Bug("a subscription's event is not looked at", "calls", "    return event\n", "    return None\n"),
    # Leaves
    Bug("an Int of more than 32 bits", "leaves", "-2147483648 <= {value} <= 2147483647", "True"),
    Bug("anything is a Boolean", "leaves", '_of_class("bool")', 'lambda value: f"bool({value})"'),
    Bug(
        "anything is a String",
        "leaves",
        'GraphQLString: _of_class("str")',
        'GraphQLString: lambda value: f"str({value})"',
    ),
    Bug("a number is an ID as it is", "leaves", 'GraphQLID: _of_class("str")', "GraphQLID: lambda value: value"),
    Bug("an unknown value of an enum is null", "leaves", 'f"{names}[{value}]"', 'f"{names}.get({value})"'),
    Bug(
        "a scalar may serialize nothing",
        "leaves",
        "if serialized is None or serialized is Undefined or is_awaitable(serialized):",
        "if False:",
    ),
    Bug("a scalar is asked for what is no value", "leaves", "            return False\n", "            continue\n"),
    Bug(
        "anything is a whole number serialized as text",
        "leaves",
        "(str({value}) if {value}.__class__ is int or {value}.__class__ is str else surprise())",
        "str({value})",
    ),
    # Whole subtrees, serialized by C
    Bug("a number without its sign", "serializer.c", "if (number < 0)\n        *--at = '-';", ""),
    Bug("zeros after the last digit", "serializer.c", "while (digits > how->least && fraction % 10 == 0)", "while (0)"),
    Bug("a fraction is cut at its end", "serializer.c", "fraction /= 10;", ""),
    Bug("an int of 64 bits for an Int", "serializer.c", "number < INT32_MIN || number > INT32_MAX", "0"),
    Bug(
        "a null where none may be", "serializer.c", "how->nullable ? Py_NewRef(value) : surprise()", "Py_NewRef(value)"
    ),
    Bug("an object's type is not asked", "serializer.c", "how->is_type_of != NULL && !is_of_type", "0 && !is_of_type"),
    Bug(
        "what is no string for a String",
        "serializer.c",
        "PyUnicode_CheckExact(value) ? Py_NewRef(value) :",
        "1 ? Py_NewRef(value) :",
    ),
    Bug("what is no bool for a Boolean", "serializer.c", "PyBool_Check(value) ?", "1 ?"),
    Bug(
        "null for what no enum has",
        "serializer.c",
        "return PyErr_Occurred() ? NULL : surprise();",
        "return Py_NewRef(Py_None);",
    ),
    Bug("a scalar is given what is none", "serializer.c", "if (how->plain != NULL) {", "if (0) {"),
    Bug(
        "a scalar's result is not looked at",
        "serializer.c",
        "serialized == NULL || PyUnicode_CheckExact(serialized)",
        "1",
    ),
    Bug("the day for the month", "serializer.c", "PyDateTime_GET_MONTH(day)", "PyDateTime_GET_DAY(day)"),
    Bug("the first of a list for all", "serializer.c", "PyList_GET_ITEM(values, index)", "PyList_GET_ITEM(values, 0)"),
    Bug("one dict for all objects", "serializer.c", "PyDict_Copy(how->template)", "Py_NewRef(how->template)"),
    # Columns
    Bug("columns that a resolver reads are not read", "projections", "return names\n", "return names or ()\n"),
    Bug(
        "columns of the first selection alone",
        "projections",
        "for selection in selections:\n",
        "for selection in [*selections][:1]:\n",
    ),
)


class Caught(NamedTuple):
    subject: str
    document: int


def record() -> dict[str, Caught]:
    """By what each bug was caught when it was last looked for, by its name."""
    return {name: Caught(*by) for name, by in json.loads(RECORD.read_text(encoding="utf-8")).items()}


async def is_caught(bug: Bug, by: Caught) -> bool:
    with planted(bug) as spoilt:
        try:
            await spoilt.trial(SUBJECTS[by.subject], by.document, OF_ONE_DOCUMENT, reduce=False)
        except spoilt.Differed:
            return True
    return False


async def catch(bug: Bug) -> Caught | None:
    """The first document whose operations tell the bug, of as many as are tried. None where none does."""
    for name, subject in SUBJECTS.items():
        with planted(bug) as spoilt:
            try:
                await spoilt.trial(subject, 0, OPERATIONS[name], reduce=False)
            except spoilt.Differed as differed:
                caught = Caught(name, differed.number)
            else:
                continue
        assert await is_caught(bug, caught), f"{bug.name}: whether {caught} catches it is a matter of luck"
        return caught
    return None


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.execution.planted_bugs", description="Look for planted bugs."
    )
    parser.add_argument("--only", default="", help="part of the names of bugs")
    parser.add_argument("--write", action="store_true", help="note what caught them")
    return parser.parse_args()


def main() -> None:
    options = _options()
    # graphql-core drops coroutines when a field fails; compiled code with a bug may as well.
    warnings.simplefilter("ignore", RuntimeWarning)
    sys.unraisablehook = lambda _unraisable: None
    gc.set_threshold(50_000, 50, 100)
    for name, subject in SUBJECTS.items():
        asyncio.run(trial(subject, 0, OPERATIONS[name]))
    found = record() if RECORD.exists() else {}
    bugs = [bug for bug in BUGS if options.only in bug.name]
    missed = []
    for bug in bugs:
        started = time.perf_counter()
        caught = asyncio.run(catch(bug))
        found.pop(bug.name, None)
        if caught is None:
            missed.append(bug)
        else:
            found[bug.name] = caught
        by = f"caught by {caught.subject}, document {caught.document}" if caught else "MISSED"
        print(f"{bug.name}: {by} ({time.perf_counter() - started:.1f} s)", flush=True)  # noqa: T201
    print(f"{len(bugs) - len(missed)} of {len(bugs)} bugs caught")  # noqa: T201
    if options.write:
        lines = [f"  {json.dumps(bug.name)}: {json.dumps(found[bug.name])}" for bug in BUGS if bug.name in found]
        RECORD.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")
    sys.exit(bool(missed))


if __name__ == "__main__":
    main()
