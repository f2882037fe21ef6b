#!/usr/bin/env bash
# .clang-format decides how C looks; a file that clang-format would change fails here.
# Mend it with: clang-format -i FILE
set -euo pipefail
cd "$ES_SOURCE_DIR"

# The control first: a file that is formatted wrongly must be refused.
planted=$(mktemp -d)
trap 'rm -rf "$planted"' EXIT
cp .clang-format "$planted"
printf 'int  f(void) {return 1;}\n' >"$planted/wrong.c"
if clang-format --dry-run -Werror "$planted/wrong.c" 2>/dev/null; then
    echo "format.sh: clang-format accepted a wrongly formatted file" >&2
    exit 1
fi

find shm broker libclient tools tests -name '*.[ch]' -print0 |
    xargs -0 clang-format --dry-run -Werror
