# Boots a systemd of its own, and takes all of it away once standard input ends.
#
#   outside.sh INSIDE FOLDER PROGRAM…
#
# Runs in a mount namespace of its own. FOLDER/machine is where everything is mounted.
# The first line that it prints is the process id of the machine's init.
set -euo pipefail
inside=$1 folder=$2
shift 2

there=$folder/machine
mkdir "$there"
mount -t tmpfs -o mode=755 machine "$there"
mkdir "$there"/{upper,work,root,cgroup,units}
mount -t cgroup2 cgroup2 "$there/cgroup"
# A namespace of control groups has its root where it is made.
group=$there/cgroup/${folder##*/}
mkdir "$group" "$group/machine"
trap 'find "$group" -depth -type d -exec rmdir {} +' EXIT

# What would be the kernel's log inside goes where our errors go.
mkfifo "$there/log"
setpriv --pdeathsig KILL cat <>"$there/log" >&2 &
log=$!

# shellcheck disable=SC2016 # expanded by the inner shell
setpriv --pdeathsig KILL \
    unshare --fork --kill-child --pid --mount --uts --ipc --net -- \
        sh -c 'echo 0 >"$0/cgroup.procs"; exec unshare --cgroup -- "$@"' \
        "$group/machine" bash -c "$inside" inside "$folder" "$@" >&2 &
outer=$!
init=
until [[ $init ]]; do
    init=$(<"/proc/$outer/task/$outer/children")
    init=${init% }
done
echo "$init"

cat >/dev/null
# Its death is that of every process in it.
kill -KILL "$init" 2>/dev/null || true
wait "$outer" || true
kill "$log"
