# Virtual environments for the other scripts, which source this. Not a command of its own.
#
# PYTHON  the interpreter to start from (default: the newest python3 of 3.11 or later on the PATH)
# VENV    the environment to make or use (default: .venv in the project)

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)

say() { printf '%s\n' "$*"; }

fail() {
    printf '%s\n' "$*" >&2
    exit 1
}

is_new_enough() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }

# Prints the interpreter to use.
find_python() {
    local candidate
    if [ -n "${PYTHON:-}" ]; then
        is_new_enough "$PYTHON" || fail "PYTHON=$PYTHON is not a Python of 3.11 or later"
        say "$PYTHON"
        return
    fi
    for candidate in python3 python3.14 python3.13 python3.12 python3.11 python; do
        if command -v "$candidate" >/dev/null && is_new_enough "$candidate"; then
            say "$candidate"
            return
        fi
    done
    fail "Python 3.11 or later is needed; set PYTHON to its path"
}

# make_venv DIR: an environment with pip, unless it is there.
make_venv() {
    local python
    if [ -x "$1/bin/python" ] && "$1/bin/python" -m pip --version >/dev/null 2>&1; then
        return
    fi
    python=$(find_python)
    say "Making the virtual environment $1 with $("$python" --version)"
    "$python" -m venv "$1" || fail "no virtual environment; on Debian and Ubuntu: apt install python3-venv"
}

# requirements_of GROUP...: the requirements of dependency groups, one a line, for a pip without --group.
requirements_of() {
    "$1/bin/python" - "$ROOT/pyproject.toml" "${@:2}" <<'PY'
import sys, tomllib

with open(sys.argv[1], "rb") as file:
    groups = tomllib.load(file)["dependency-groups"]
print(*(requirement for name in sys.argv[2:] for requirement in groups[name]), sep="\n")
PY
}

# has_core STAMP: whether the compiled modules are those of the source, or none are wanted (hatch_build.py).
has_core() {
    local list=$ROOT/src/pydapr/_compiled/modules name
    [ "${PYDAPR_PURE:-0}" = 1 ] && return
    grep -qx "core" "$1" || return
    [ -f "$list" ] || return 0
    while read -r name; do
        [ "$ROOT/src/${name//.//}.py" -nt "$1" ] && return 1
    done < <(tail -n +2 "$list")
    return 0
}

# install_into DIR [GROUP...]: the package itself, editable, and dependency groups. Does nothing when nothing
# has changed since the last time, so that it needs no network then.
install_into() {
    local venv=$1 stamp=$1/.pydapr-installed group requirement
    local -a arguments=()
    shift
    if [ -f "$stamp" ] && [ "$stamp" -nt "$ROOT/pyproject.toml" ] && [ "$(head -n1 "$stamp")" = "$ROOT" ] &&
        has_core "$stamp"; then
        local missing=""
        for group in "$@"; do grep -qx "$group" "$stamp" || missing=$group; done
        [ -z "$missing" ] && return
    fi
    say "Installing pydapr${*:+ and what is needed for: $*}"
    [ "${PYDAPR_PURE:-0}" = 1 ] || say "(compiling it may take minutes; PYDAPR_PURE=1 does without)"
    if "$venv/bin/python" -m pip install --help | grep -q -- '--group'; then
        for group in "$@"; do arguments+=(--group "$ROOT/pyproject.toml:$group"); done
    else
        while IFS= read -r requirement; do
            [ -z "$requirement" ] || arguments+=("$requirement")
        done < <([ $# -eq 0 ] || requirements_of "$venv" "$@")
    fi
    rm -f "$stamp" # of an installation that is interrupted nothing says that it is complete
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check \
        -e "$ROOT" ${arguments[@]+"${arguments[@]}"}
    say "$ROOT" >"$stamp"
    for group in $([ "${PYDAPR_PURE:-0}" = 1 ] || say core) "$@"; do say "$group"; done >>"$stamp"
}
