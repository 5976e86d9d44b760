# Sourced by ./insula and ./test: which distribution packages are missing, and their installation.

# Prints the distribution's family: debian, or its own name where we cannot install packages.
distribution_family() {
    local ID="" ID_LIKE=""
    [ -r /etc/os-release ] && . /etc/os-release
    case " $ID $ID_LIKE " in
    *" debian "* | *" ubuntu "*) echo debian ;;
    *) echo "${ID:-unknown}" ;;
    esac
}

# Prints the missing packages of the given lists, one a line. Fast when nothing is missing: one dpkg-query.
missing_packages() {
    local line first other installed
    installed=" $(dpkg-query -W -f '${db:Status-Abbrev}${Package} ' 2>/dev/null) "
    cat "$@" | while read -r line; do
        line=${line%%#*}
        [ -n "${line// /}" ] || continue
        first=${line%%|*} other=""
        [ "$first" = "$line" ] || other=${line#*|}
        first=${first// /} other=${other// /}
        case "$installed" in *" ii $first "* | *" hi $first "*) continue ;; esac
        if [ -n "$other" ] && ! package_exists "$first"; then
            case "$installed" in *" ii $other "*) continue ;; esac
            first=$other
        fi
        echo "$first"
    done | sort -u
}

package_exists() {
    [ -n "$(apt-cache policy "$1" 2>/dev/null)" ]
}

# install_packages PACKAGE...: as root, or through sudo where we are not.
install_packages() {
    local -a as_root=()
    [ "$(id -u)" = 0 ] || as_root=(sudo)
    # Another apt may be at work (unattended upgrades right after a boot): wait for it instead of failing.
    "${as_root[@]}" apt-get update -q </dev/null || return
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends \
        -o DPkg::Lock::Timeout=600 "$@" </dev/null
}

# ensure_packages launch [--yes] ...: install what is missing, after asking; or say what to install.
ensure_packages() {
    local -a missing
    local word sure="" answer=""
    if [ "$(distribution_family)" != debian ]; then
        command -v qemu-system-x86_64 >/dev/null && return
        explain "The packages that Insula needs cannot be installed here" \
            "Only Debian and Ubuntu are known; this is $(distribution_family)" \
            "Install the counterparts of: $(list_names "$top/packages.txt")"
        return 1
    fi
    mapfile -t missing < <(missing_packages "$top/packages.txt")
    [ "${#missing[@]}" -gt 0 ] || return 0
    if [ "$(id -u)" != 0 ] && ! may_use_sudo; then
        explain "Distribution packages are missing: ${missing[*]}" "$(id -un) cannot use sudo here" \
            "Ask for: sudo apt-get install --no-install-recommends ${missing[*]}"
        return 1
    fi
    for word in "$@"; do
        [ "$word" != -- ] || break
        [ "$word" != --yes ] && [ "$word" != -y ] || sure=yes
    done
    if [ -z "$sure" ]; then
        printf 'Insula needs these packages of the distribution: %s\nInstall them now? [Y/n] ' "${missing[*]}" >&2
        read -r answer || answer=n
        case "$answer" in "" | [Yy]*) ;; *)
            explain "The packages were not installed" "You said no, or there is nobody to ask" \
                "Say --yes, or: sudo apt-get install --no-install-recommends ${missing[*]}"
            return 1
            ;;
        esac
    fi
    echo "Installing ${#missing[@]} packages of the distribution ..." >&2
    install_packages "${missing[@]}" >&2 || {
        explain "The packages could not be installed" "apt-get's own words are above" \
            "Mend what it names, then try: sudo apt-get install --no-install-recommends ${missing[*]}"
        return 1
    }
}

# Whether sudo works for us: without a password, or with a person at the terminal who can give one.
may_use_sudo() {
    command -v sudo >/dev/null || return 1
    sudo -n true 2>/dev/null && return
    [ -t 0 ] && sudo -v
}

list_names() {
    sed -e 's/#.*//' -e 's/|.*//' "$@" | tr -s ' \n' ' '
}

# The tests never ask: as root they install, otherwise they say what is missing and go on with what can be tested.
ensure_test_packages() {
    local -a missing
    [ "$(distribution_family)" = debian ] || return 0
    mapfile -t missing < <(missing_packages "$top/packages.txt" "$top/packages-test.txt")
    [ "${#missing[@]}" -gt 0 ] || return 0
    if [ "$(id -u)" = 0 ]; then
        echo "Installing ${#missing[@]} packages of the distribution: ${missing[*]}" >&2
        install_packages "${missing[@]}" >&2
        return
    fi
    explain "Distribution packages are missing: ${missing[*]}" "Only root can install them; tests that need them skip" \
        "Ask for: sudo apt-get install --no-install-recommends ${missing[*]}"
}
