"""What docs and reviews ask for and a program can count: lengths, include arrows, banned calls,
unfinished work, sleeping tests.

Each rule is first shown a small tree that breaks it, and must see that and nothing else; only then
is the project itself checked. A rule that has gone blind therefore fails here."""

import os
import re
import sys
import tempfile

FUNCTION_LINES_MAX = 70
FILE_LINES_MAX = 600
FILE_LINES_NEAR = 500
COLUMNS_MAX = 100
SCRIPT_COLUMNS_MAX = 120
CODE_TREES = ("shm", "broker", "libclient", "tools", "tests")
NOT_CODE = ("tests/data", "tests/corpus", "tests/golden", "__pycache__")


class Source:
    """One file: its path below the root, its lines, and (for C) the code without comments and
    without what stands in quotes."""

    def __init__(self, root, path):
        self.path = path
        with open(os.path.join(root, path), encoding="utf-8", errors="replace") as file:
            self.text = file.read()
        self.lines = self.text.splitlines()
        self.is_c = path.endswith((".c", ".h"))
        self.is_script = path.endswith((".py", ".sh")) or self.text.startswith("#!")
        self.code = without_comments(self.text) if self.is_c else self.text

    def includes(self):
        return re.findall(r'^\s*#\s*include\s*[<"]([^>"]+)[>"]', self.text, re.M)


def without_comments(text):
    """Comments and the insides of literals become blanks; line numbers stay."""
    pattern = r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])+\''

    def blank(match):
        found = match.group(0)
        filler = re.sub(r"[^\n]", " ", found)
        return found[0] + filler[1:-1] + found[-1] if found[0] in "\"'" else filler

    return re.sub(pattern, blank, text, flags=re.S)


def sources(root):
    for tree in CODE_TREES:
        for directory, _, names in sorted(os.walk(os.path.join(root, tree))):
            below = os.path.relpath(directory, root)
            if any(below == skip or skip in below for skip in NOT_CODE):
                continue
            for name in sorted(names):
                path = os.path.join(below, name)
                extension = os.path.splitext(name)[1]
                if extension in (".c", ".h", ".py", ".sh", ".cmake", ".txt") or (
                    extension == "" and os.access(os.path.join(root, path), os.X_OK)
                ):
                    yield Source(root, path)


# ---------------------------------------------------------------------------------- the rules --
# Each takes a Source and yields (line number, message).


def function_length(source):
    """A function: from the line after a blank one to the brace that closes it in column 0."""
    if not source.is_c:
        return
    start = 1
    for number, line in enumerate(source.code.splitlines(), 1):
        if line.strip() == "":
            start = number + 1 if not in_body(source, number) else start
        elif line.startswith("}"):
            length = number - start + 1
            is_function = any(
                text.startswith("{") for text in source.code.splitlines()[start - 1 : number]
            )
            if is_function and length > FUNCTION_LINES_MAX:
                yield start, f"a function of {length} lines, at most {FUNCTION_LINES_MAX}"
            start = number + 1


def in_body(source, number):
    """Whether that line lies between a '{' and a '}' of column 0."""
    for text in reversed(source.code.splitlines()[: number - 1]):
        if text.startswith("}"):
            return False
        if text.startswith("{"):
            return True
    return False


def file_length(source):
    if source.is_c and len(source.lines) > FILE_LINES_MAX:
        yield len(source.lines), f"{len(source.lines)} lines, at most {FILE_LINES_MAX}"


def columns(source):
    limit = COLUMNS_MAX if source.is_c else SCRIPT_COLUMNS_MAX
    if source.is_c or source.is_script:
        for number, line in enumerate(source.lines, 1):
            if len(line) > limit:
                yield number, f"{len(line)} columns, at most {limit}"


def white_space(source):
    for number, line in enumerate(source.lines, 1):
        if "\t" in line:
            yield number, "a tab"
        if line != line.rstrip():
            yield number, "white space at the end of the line"
    if source.text and not source.text.endswith("\n"):
        yield len(source.lines), "no newline at the end of the file"


# header pattern -> where it may be included
LIBRARIES = (
    (r"rocksdb/", r"broker/store_rocksdb[a-z_]*\.c"),
    (r"nng/", r"tests/.*"),
    (r"(msgpack(/|\.h)|blake2)", r"shm/codec/.*"),
    (r"jansson", r"tools/esctl/.*"),
    (r"systemd/", r"broker/.*"),
    (r"cmocka", r"tests/.*"),
)


def library_includes(source):
    if not source.is_c or source.path.startswith("tests/"):
        return
    for name in source.includes():
        for header, place in LIBRARIES:
            if re.match(header, name) and not re.fullmatch(place, source.path):
                yield 1, f"includes <{name}>, which only {place} may"


# who -> what of the project it may include
ARROWS = (
    (r"libclient/eventspine\.h", r"eventspine_status\.h"),
    (r"shm/codec/.*", r"shm/(codec/.*|eventspine_status\.h|crc32c\.h)"),
    (r"shm/.*", r"shm/[^/]*"),
    (r"libclient/.*", r"(libclient|shm)/.*|eventspine(_status)?\.h"),
    (r"broker/.*", r"(broker|shm)/.*"),
    (r"tools/examples/.*", r"tools/examples/.*|eventspine\.h"),
    (r"tools/.*", r"(tools|libclient|broker|shm)/.*|eventspine(_status)?\.h"),
    (r"tests/.*", r".*"),
)
OURS = re.compile(r"(shm|broker|libclient|tools|tests)/|eventspine(_status)?\.h")


def include_arrows(source):
    if not source.is_c:
        return
    allowed = next(what for who, what in ARROWS if re.fullmatch(who, source.path))
    for name in source.includes():
        if OURS.match(name) and not re.fullmatch(allowed, name):
            yield 1, f"includes {name}: from here only {allowed} may be"


BANNED = "strcpy strcat stpcpy sprintf vsprintf gets strtok atoi atol system alloca rand srand"
BANNED_CALL = re.compile(r"(?<![\w.>])(" + "|".join(BANNED.split()) + r")\s*\(")


def banned_calls(source):
    if source.is_c:
        for number, line in enumerate(source.code.splitlines(), 1):
            for match in BANNED_CALL.finditer(line):
                yield number, f"calls {match.group(1)}()"


HIDING_TYPEDEF = re.compile(
    r"^[ ]*typedef\s+(?:(?:struct|union|enum)\b[^;(]*[;{]|[^;(]*\*\s*\w+\s*;)", re.M
)


def hiding_typedefs(source):
    if source.is_c:
        for match in HIDING_TYPEDEF.finditer(source.code):
            number = source.code[: match.start()].count("\n") + 1
            yield number, "a typedef that hides a struct or a pointer"


UNFINISHED = re.compile(r"\b(TO" r"DO|FIX" r"ME|XX" r"X|HA" r"CK)\b")


def unfinished_work(source):
    for number, line in enumerate(source.lines, 1):
        if UNFINISHED.search(line):
            yield number, "unfinished work belongs into an issue"


C_SLEEP = re.compile(r"(?<!\w)(u?sleep|nanosleep|clock_nanosleep|thrd_sleep)\s*\(")
SCRIPT_SLEEP = re.compile(
    r"""^[^#\n]*?(\btime\.sleep\b|\[["']sleep["']|(^|[;&|]|\bdo\b|\bthen\b)\s*sleep\s+[\d.$"])""",
    re.M,
)


def sleeping_tests(source):
    if not source.path.startswith("tests/"):
        return
    pattern = C_SLEEP if source.is_c else SCRIPT_SLEEP
    for match in pattern.finditer(source.code):
        yield source.text[: match.start()].count("\n") + 1, "a test that sleeps: wait for the event"


SKIPPING = re.compile(
    r"(?<!\w)skip\s*\(\s*\)|#\s*if\s+0\b|\bDISABLED_|@unittest\.skip|\bSkipTest\b"
)


def disabled_code(source):
    text = source.code if source.is_c else source.text
    if source.path != "tests/tidy/house_rules.py":
        for match in SKIPPING.finditer(text):
            yield text[: match.start()].count("\n") + 1, "code or a test that is switched off"


def guards(source):
    if source.path.endswith(".h"):
        match = re.search(r"^#ifndef (\w+)\n#define (\w+)$", source.text, re.M)
        if match is None or match.group(1) != match.group(2):
            yield 1, "a header without an include guard"


def exported_names(source):
    if source.is_c:
        for match in re.finditer(r"\bES_API\b[^;{]*?(\w+)\s*\(", source.code):
            if source.path.endswith(".h") and not match.group(1).startswith("es_"):
                if match.group(1) != "__attribute__":
                    number = source.code[: match.start()].count("\n") + 1
                    yield number, f"exports {match.group(1)}, which does not start with es_"


RULES = (
    function_length,
    file_length,
    columns,
    white_space,
    library_includes,
    include_arrows,
    banned_calls,
    hiding_typedefs,
    unfinished_work,
    sleeping_tests,
    disabled_code,
    guards,
    exported_names,
)


def violations(root):
    for source in sources(root):
        for rule in RULES:
            for number, message in rule(source):
                yield rule.__name__, source.path, number, message


# ------------------------------------------------------------------------ the negative controls --

INNOCENT = {
    "shm/ring.h": "#ifndef RING_H\n#define RING_H\n\nint es_ring(void);\n\n#endif\n",
    "shm/codec/wire.c": '#include <msgpack.h>\n\n#include "shm/eventspine_status.h"\n',
    "broker/log.c": "/* system(), strcpy() and a TO-DO in words are fine */\n\n"
    'static const char *text = "sprintf(1)";\n\n'
    "static int es_log_system(void)\n{\n"
    + "    log_rand();\n" * (FUNCTION_LINES_MAX - 4)
    + "\n}\n\nstruct log {\n"
    + "    int member;\n" * 80
    + "};\n",
    "broker/store_rocksdb.c": "#include <rocksdb/c.h>\n",
    "broker/store.h": "#ifndef STORE_H\n#define STORE_H\n\n"
    "typedef enum es_status store_visitor(void *context,\n    const char *key);\n\n#endif\n",
    "tests/unit/test_ring.c": "/* never sleep(1) */\n\nstatic int unasleep(void);\n",
    "tests/integration/walk.sh": "# sleep 1 would be wrong\nread -t 5 line\n",
}

LONG = "static int f(void)\n{\n" + "    g();\n" * (FUNCTION_LINES_MAX - 2) + "}\n"

PLANTED = (
    ("function_length", "broker/a.c", LONG),
    ("function_length", "broker/a.c", LONG.replace("    g();\n", "    g();\n\n", 1)),
    ("file_length", "shm/a.c", "int es_x;\n" * (FILE_LINES_MAX + 1)),
    ("columns", "shm/a.c", "/* " + "x" * 100 + " */\n"),
    ("columns", "tests/a.py", "#" * (SCRIPT_COLUMNS_MAX + 1) + "\n"),
    ("white_space", "shm/a.c", "\tint x;\n"),
    ("white_space", "shm/a.c", "int x; \n"),
    ("white_space", "shm/a.c", "int x;"),
    ("library_includes", "broker/reader.c", "#include <rocksdb/c.h>\n"),
    ("library_includes", "libclient/reader.c", "#include <nng/nng.h>\n"),
    ("library_includes", "broker/transport.c", "#include <nng/nng.h>\n"),
    ("library_includes", "shm/ring.c", "#include <msgpack.h>\n"),
    ("library_includes", "broker/chain.c", "#include <blake2.h>\n"),
    ("library_includes", "libclient/json.c", "#include <jansson.h>\n"),
    ("include_arrows", "libclient/a.c", '#include "broker/log.h"\n'),
    ("include_arrows", "shm/a.c", '#include "broker/log.h"\n'),
    ("include_arrows", "shm/a.c", "#include <eventspine.h>\n"),
    ("include_arrows", "shm/a.c", '#include "shm/codec/wire.h"\n'),
    ("include_arrows", "shm/codec/a.c", '#include "shm/ring.h"\n'),
    ("include_arrows", "broker/a.c", '#include "libclient/connection.h"\n'),
    ("include_arrows", "broker/a.c", '#include "tools/esctl/verbs.h"\n'),
    ("include_arrows", "tools/examples/a.c", '#include "shm/ring.h"\n'),
) + tuple(
    ("banned_calls", "broker/a.c", f"int x = {name}(y);\n") for name in BANNED.split()
) + (
    ("hiding_typedefs", "shm/a.h", "#ifndef A_H\n#define A_H\ntypedef struct x x;\n#endif\n"),
    ("hiding_typedefs", "shm/a.c", "typedef char *text;\n"),
    ("unfinished_work", "tools/a.c", "/* FIX" "ME */\n"),
    ("unfinished_work", "tests/a.sh", "# TO" "DO\n"),
    ("sleeping_tests", "tests/a.c", "int x = usleep(1);\n"),
    ("sleeping_tests", "tests/a.sh", "while true; do" " sleep 0.1; done\n"),
    ("sleeping_tests", "tests/a.py", "time." "sleep(1)\n"),
    ("disabled_code", "tests/a.c", "int x = skip();\n"),
    ("disabled_code", "broker/a.c", "#if 0\n#endif\n"),
    ("guards", "shm/a.h", "int x;\n"),
    ("exported_names", "shm/a.h", "#ifndef A_H\n#define A_H\nES_API int ring(void);\n#endif\n"),
)


def reports(files):
    with tempfile.TemporaryDirectory() as root:
        for path, text in files.items():
            full = os.path.join(root, path)
            os.makedirs(os.path.dirname(full), exist_ok=True)
            with open(full, "w", encoding="utf-8") as file:
                file.write(text)
        return list(violations(root))


def check_the_rules():
    """Returns what is wrong with the rules themselves."""
    for _, path, number, message in reports(INNOCENT):
        yield f"an innocent file is reported: {path}:{number}: {message}"
    for rule, path, text in PLANTED:
        found = {name for name, *_ in reports({path: text})}
        if found != {rule}:
            yield f"{rule} planted in {path} ({text[:50]!r}): reported is {found or 'nothing'}"
    for rule in {rule.__name__ for rule in RULES} - {planted[0] for planted in PLANTED}:
        yield f"{rule} has no negative control"


def main():
    root = os.environ.get("ES_SOURCE_DIR") or os.path.join(os.path.dirname(__file__), "../..")
    blind = list(check_the_rules())
    broken = list(violations(root))
    for message in blind:
        print(f"house_rules.py: {message}")
    for rule, path, number, message in broken:
        print(f"{path}:{number}: {message} [{rule}]")
    for source in sources(root):
        if source.is_c and len(source.lines) > FILE_LINES_NEAR:
            print(f"{source.path}: {len(source.lines)} lines: near the limit (not a failure)")
    print(f"{len(PLANTED)} planted violations, {len(RULES)} rules, {len(broken)} violations found")
    return 1 if blind or broken else 0


sys.exit(main())
