# Sourced by the bash scripts of this folder: Python, the virtual environment, and what they print.
# Works as a plain user or as root, changes nothing outside the project, needs bash and Python 3.11+.
# shellcheck shell=bash

ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)"
LOCAL="$ROOT/.local"
VENV="$ROOT/.venv"
PY="$VENV/bin/python"
SETUP_LOG="$LOCAL/setup.log"
# Stands while .venv is being changed. A run that was killed leaves it, and half a package can look like a whole.
UNFINISHED="$LOCAL/venv-unfinished"

# Settings of the caller's shell that would redirect Python or pip away from our environment.
unset PYTHONHOME PYTHONPATH PIP_TARGET PIP_PREFIX PIP_REQUIREMENT PIP_CONSTRAINT PREPARE
export PIP_USER=0 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1 PIP_ROOT_USER_ACTION=ignore
# Or every start of every program would compile all that it imports.
unset PYTHONDONTWRITEBYTECODE

BOLD='' RED='' PLAIN=''
if [ -t 1 ] && [ -z "${NO_COLOR:-}" ]; then BOLD=$'\e[1m' RED=$'\e[31m' PLAIN=$'\e[0m'; fi

# Standard input as wide as the terminal that standard output is, broken between words; else as it is.
wrapped() {
  local columns=''
  [ ! -t 1 ] || { columns="$(stty size <&3 2>/dev/null | cut -d' ' -f2)"; } 3>&1
  if [ "${columns:-0}" -gt 0 ]; then fold -s -w "$columns" | sed 's/ *$//'; else cat; fi
}

say() { printf '%s\n' "$*" | wrapped; }
step() { printf '==> %s\n' "$*" | wrapped | sed "1s/==>/$BOLD==>$PLAIN/"; }
fail() { { printf 'ERROR: %s\n' "$*" | wrapped | sed "1s/ERROR/$RED&$PLAIN/"; } >&2; exit 1; }

find_python() {
  local name version best=''
  for name in python3 python3.14 python3.13 python3.12 python3.11; do
    # A name may exist and still not run (shims), so ask it.
    version="$("$name" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null)" || continue
    if "$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
      PYTHON="$(command -v "$name")"
      return
    fi
    best="$version"
  done
  [ -z "$best" ] || fail "Python 3.11 or newer is needed, this machine has $best: install a newer python3."
  fail "Python 3.11 or newer is needed and none was found: install python3."
}

# One set-up at a time; the kernel frees the lock when the holder ends, however it ends.
lock_setup() {
  mkdir -p "$LOCAL" 2>/dev/null && [ -w "$LOCAL" ] && [ -w "$ROOT" ] ||
    fail "$ROOT and its .local must be yours to write: was an earlier set-up run as another user?"
  command -v flock >/dev/null || return 0
  exec 9>"$LOCAL/setup.lock"
  flock -n 9 || { step "another set-up of this folder is running, waiting for it"; flock 9; }
}

# What was installed is described by one line; when the line is the same there is nothing to do.
wanted_stamp() { cat "$ROOT/requirements.txt" "$ROOT/pyproject.toml" | sha256sum | cut -d' ' -f1; }

ensure_venv() {
  local wanted
  wanted="$(wanted_stamp) $ROOT"
  venv_is_current "$wanted" && return
  lock_setup
  trap 'stop_preparing; printf "\nStopped; run it again to go on.\n" >&2; exit 130' INT
  if ! venv_is_current "$wanted"; then
    venv_works || create_venv
    touch "$UNFINISHED"
    prepare_database
    install_packages
    printf '%s\n' "$wanted" >"$VENV/.installed"
    rm -f "$UNFINISHED"
  fi
  trap - INT
  exec 9>&- # frees the lock
}

# The packages are looked for as well: after an upgrade of the system's Python they stand in the wrong folder.
venv_is_current() {
  [ "$(cat "$VENV/.installed" 2>/dev/null)" = "$1" ] &&
    "$PY" -c 'import sys, importlib.util as u; sys.exit(u.find_spec("alpaca") is None)' 2>/dev/null
}

# Made completely, in this very folder (a moved environment keeps the old paths), and its Python still there.
venv_works() {
  [ ! -e "$UNFINISHED" ] && grep -qsF "$VENV" "$VENV/bin/activate" &&
    "$PY" -c 'import sys, pip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null
}

create_venv() {
  find_python
  step "creating .venv with $("$PYTHON" --version)"
  touch "$UNFINISHED"
  rm -rf "$VENV"
  "$PYTHON" -m venv --without-pip "$VENV" >"$SETUP_LOG" 2>&1 ||
    fail "$PYTHON cannot create a virtual environment ($(tail -n 1 "$SETUP_LOG")): install python3-venv."
  bootstrap_pip
}

# pip comes from its wheel, which Python has in a folder of its own, Debian in a package of its own: the
# machine's, or one unpacked into .local. That pip installs the one that requirements.txt names.
bootstrap_pip() {
  local wheel
  wheel="$(find_pip_wheel)"
  if [ -z "$wheel" ]; then
    step "this Python has no ensurepip: getting pip from Debian's python3-pip-whl"
    "$PYTHON" "$ROOT/src/mariadb_server/debian_packages.py" "$LOCAL/pip" python3-pip-whl ||
      fail "pip could not be fetched (the line above says why): install python3-venv, or check the network."
    wheel="$(find_pip_wheel)"
  fi
  # A wheel is a zip archive that Python can import from: pip installs itself.
  "$PY" "$wheel/pip" install --no-deps --no-compile "$(sed -n 's/^\(pip==[^ ]*\).*/\1/p' "$ROOT/requirements.txt")" >>"$SETUP_LOG" 2>&1 ||
    "$PY" "$wheel/pip" install --no-index "$wheel" >>"$SETUP_LOG" 2>&1 ||
    fail "pip could not be put into .venv, see $SETUP_LOG"
}

find_pip_wheel() {
  local folder bundled
  bundled="$("$PYTHON" -c 'import os, ensurepip; print(os.path.dirname(ensurepip.__file__))' 2>/dev/null)/_bundled" || true
  for folder in "$bundled" /usr/share/python-wheels "$LOCAL/pip/usr/share/python-wheels"; do
    compgen -G "$folder/pip-*.whl" | tail -n 1 | grep . && return
  done
  true
}

install_packages() {
  step "installing the packages of requirements.txt (the first time takes about half a minute)"
  run_pip install --no-compile -r "$ROOT/requirements.txt"
  # As an editable install would, which takes pip as long as a dozen packages: src is the import root.
  printf '%s\n' "$ROOT/src" >"$("$PY" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/dca-crypto-bot.pth"
}

# PREPARE names what a script needs of MariaDB: its program, or with a folder that one's database files.
# Both are made while pip works; whoever needs them next waits for the lock that the child holds, and
# does it again, with an error for its user, where it failed. setsid: killed with what it runs.
prepare_database() {
  [ -n "${PREPARE+set}" ] || return 0
  PYTHONPATH="$ROOT/src" setsid "$PY" -m mariadb_server.prepare ${PREPARE:+"$PREPARE"} 9>&- </dev/null >/dev/null 2>&1 &
  preparing=$!
}

stop_preparing() { [ -z "${preparing:-}" ] || kill -- "-$preparing" 2>/dev/null || true; }

# What only scripts/sweep needs (Dask, Optuna) is installed when it is first used: it would add half of its
# time to a set-up. Stamped as the rest is.
ensure_sweep_packages() {
  local wanted stamp="$VENV/.installed-sweep"
  wanted="$(sha256sum <"$ROOT/requirements-sweep.txt" | cut -d' ' -f1) $ROOT"
  [ "$(cat "$stamp" 2>/dev/null)" != "$wanted" ] || return 0
  lock_setup
  trap 'printf "\nStopped; run it again to go on.\n" >&2; exit 130' INT
  if [ "$(cat "$stamp" 2>/dev/null)" != "$wanted" ]; then
    step "installing the packages of requirements-sweep.txt (only this time; some 15 seconds)"
    touch "$UNFINISHED"
    run_pip install --no-compile -r "$ROOT/requirements-sweep.txt"
    printf '%s\n' "$wanted" >"$stamp"
    rm -f "$UNFINISHED"
  fi
  trap - INT
  exec 9>&-
}

# pip's own words go to the log; a terminal sees the newest one in a single line, so that it moves.
# In the foreground, because a background child of a script would not hear Ctrl-C.
run_pip() {
  "$PY" -m pip "$@" --progress-bar off 2>&1 | tee "$SETUP_LOG" | newest_line && return
  stop_preparing
  rm -f "$UNFINISHED" # pip undid what it had begun
  if grep -qE 'NewConnectionError|NameResolutionError|ConnectTimeout|unreachable' "$SETUP_LOG"; then
    fail "pip cannot reach the package index: is there a network? (details in $SETUP_LOG)"
  fi
  fail "pip failed: $(grep -iE '^ *error' "$SETUP_LOG" | tail -n 1) (details in $SETUP_LOG)"
}

newest_line() {
  local line
  while IFS= read -r line; do [ ! -t 1 ] || printf '\r\e[K    %.70s' "$line"; done
  [ ! -t 1 ] || printf '\r\e[K'
}
