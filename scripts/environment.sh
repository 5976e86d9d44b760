# Sourced by ./insula and ./test: the private Python environment in .venv, made once and again when uv.lock changes.
# Needs $top, the checkout.

UV_VERSION=0.13.9

# environment_is_current GROUP: whether .venv holds what uv.lock says. GROUP is runtime or dev; dev includes runtime.
environment_is_current() {
    local stamp=$top/.venv/.insula-$1 place=""
    [ -r "$stamp" ] || { [ "$1" = runtime ] && stamp=$top/.venv/.insula-dev && [ -r "$stamp" ]; } || return 1
    # An environment knows its own place by absolute paths, so a moved checkout needs a new one.
    read -r place <"$stamp"
    [ "$place" = "$top" ] && [ -x "$top/.venv/bin/python" ] && tail -n +2 "$stamp" | cmp -s - "$top/uv.lock"
}

# Prints the interpreter to build on: the distribution's own, 3.11 or later.
find_python() {
    local name
    for name in python3 python3.13 python3.12 python3.11; do
        if "/usr/bin/$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            echo "/usr/bin/$name"
            return
        fi
    done
    return 1
}

# make_environment GROUP: bring .venv to what uv.lock says. Two at once wait for each other; an interrupted one is redone.
make_environment() {
    local group=$1 python log=$top/.venv.log
    local -a only=(--no-dev)
    [ "$group" = runtime ] || only=()
    python=$(find_python) || {
        explain "Python 3.11 or later is missing" "Neither /usr/bin/python3 nor python3.11 to python3.13 is there" \
            "Install it: sudo apt-get install python3 python3-venv"
        return 1
    }
    if ! [ -w "$top" ]; then
        explain "The private Python environment cannot be made" "$top is not writable for $(id -un)" \
            "Let its owner run ./insula version once, or clone the repository into a folder of your own"
        return 1
    fi
    exec 8>"$top/.venv.lock"
    flock -w 900 8 || {
        explain "Another process has been setting up $top/.venv for 15 minutes" "It holds $top/.venv.lock" \
            "Look what it waits for, or end it, and try again"
        return 1
    }
    if ! environment_is_current "$group"; then
        [ -r "$top/.venv/.insula-dev" ] && only=()
        echo "Setting up the private Python environment in $top/.venv ..." >&2
        if ! (build_environment "$python" "${only[@]}") >"$log" 2>&1; then
            tail -n 15 "$log" >&2
            explain "The private Python environment could not be made" "The lines above are the end of $log" \
                "Python's venv module is in the package python3-venv; downloads need a way to pypi.org"
            return 1
        fi
        { printf '%s\n' "$top" && cat "$top/uv.lock"; } >"$top/.venv/.insula-$group.new"
        mv "$top/.venv/.insula-$group.new" "$top/.venv/.insula-$group"
    fi
    exec 8>&-
}

build_environment() {
    local python=$1
    shift
    cd "$top" || return
    # What other lock file or place the stamps stood for is over from here on, also when we are interrupted.
    rm -f .venv/.insula-runtime .venv/.insula-dev
    if ! .venv/bin/python -m pip --version || ! grep -qxF "command = $python -m venv $top/.venv" .venv/pyvenv.cfg; then
        "$python" -m venv --clear .venv || return
    fi
    .venv/bin/uv --version 2>&1 | grep -qF "uv $UV_VERSION" ||
        .venv/bin/python -m pip install -q --disable-pip-version-check "uv==$UV_VERSION" || return
    # The system's certificates, since companies (and some machines) have their own authorities.
    # --inexact, since uv itself and pip live there too.
    UV_PROJECT_ENVIRONMENT=$top/.venv .venv/bin/uv sync --frozen --inexact --system-certs --compile-bytecode \
        --python "$python" "$@" || return
    .venv/bin/python -m compileall -q src
}

# explain WHAT WHY TODO: an error as the whole product words it.
explain() {
    printf 'error: %s\n  why: %s\n   do: %s\n' "$1" "$2" "$3" >&2
}
