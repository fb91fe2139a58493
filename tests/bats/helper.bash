# SPDX-License-Identifier: Apache-2.0
# The verbs of the bats files: mounts with an end, requirements that CI can insist on, checkpoints.
#
# The one idea: every wait is a condition with a deadline, and every mount has an owner: wl_mount
# remembers its daemon, wl_umount insists on its clean end, wl_cleanup clears whatever is left.
# Call wl_mount and wl_umount plainly, never under `run`: a subshell would lose the daemon.
# shellcheck shell=bash

bats_require_minimum_version 1.5.0
bats_load_library bats-support
bats_load_library bats-assert
bats_load_library bats-file

WL_ROOT=$(cd "$BATS_TEST_DIRNAME/../.." && pwd)
WL_BUILD=$WL_ROOT/build/${BUILD:-release}
WLOADFS=$WL_BUILD/wloadfs
WLOAD=$WL_BUILD/wload
PROBE=$WL_BUILD/tests/probe
MAKE_CHECKPOINT=$WL_ROOT/scripts/make-checkpoint
CHECK_STAMPS=$WL_ROOT/scripts/check-stamps
export WL_ROOT WL_BUILD WLOADFS WLOAD PROBE MAKE_CHECKPOINT CHECK_STAMPS
WL_DEADLINE=${WL_DEADLINE:-20} # seconds, for anything that should happen at once
declare -gA WL_PIDS=() WL_LOGS=()

# ---- waiting ---------------------------------------------------------------------------------

# wait_until CONDITION [SECONDS]: evaluates a shell condition until it holds.
wait_until() {
	local end=$((${EPOCHREALTIME/[.,]/} + ${2:-$WL_DEADLINE} * 1000000))

	until eval "$1"; do
		if [ "${EPOCHREALTIME/[.,]/}" -gt "$end" ]; then
			echo "not within ${2:-$WL_DEADLINE} s: $1" >&2
			return 1
		fi
		sleep 0.02
	done
}

# ---- requirements ----------------------------------------------------------------------------

probe_fuse() {
	[ -r /dev/fuse ] && [ -w /dev/fuse ] && command -v fusermount3 >/dev/null || return 1
	[ "$(id -u)" = 0 ] || return 0
	python3 - "$BATS_TEST_TMPDIR" <<-'PY'
		import ctypes, os, sys
		libc = ctypes.CDLL(None, use_errno=True)
		fd = os.open("/dev/fuse", os.O_RDWR)
		options = f"fd={fd},rootmode=40000,user_id=0,group_id=0".encode()
		where = os.fsencode(sys.argv[1])
		if libc.mount(b"probe", where, b"fuse", 0, options):
		    sys.exit(1)
		libc.umount2(where, 2)
	PY
}

# A python that can import all of the modules given, in $PYTHON.
find_python() {
	local python

	for python in "$WL_ROOT/build/venv/bin/python" python3 /usr/bin/python3; do
		if "$python" -c "import $1" 2>/dev/null; then
			export PYTHON=$python
			return 0
		fi
	done
	return 1
}

probe_gpu() { nvidia-smi -L >/dev/null 2>&1; }
probe_root() { [ "$(id -u)" = 0 ]; }
probe_numpy() { find_python numpy; }
probe_pypi() { find_python numpy,safetensors; }

# Can the page cache of this folder be dropped? Not on tmpfs.
probe_disk() { [ "$(stat -f -c %T "$BATS_TEST_TMPDIR")" != tmpfs ]; }

# lacks WHAT WHY: skips, or fails when WL_MUST_HAVE lists it.
lacks() {
	case " ${WL_MUST_HAVE-} " in
	*" $1 "*) fail "this machine lacks '$1', which WL_MUST_HAVE lists: $2" ;;
	*) skip "$2" ;;
	esac
}

# require fuse|gpu|pypi|root|numpy|disk…: skips without it, or fails when WL_MUST_HAVE lists it.
require() {
	local what

	for what in "$@"; do
		"probe_$what" || lacks "$what" "no $what here"
	done
}

# ---- checkpoints -----------------------------------------------------------------------------

# make_tiny FAMILY DIR [OPTIONS…]: a made checkpoint; each kind is made once a run.
make_tiny() {
	local family=$1 dir=$2 cache
	shift 2
	cache=$BATS_RUN_TMPDIR/made/$(printf '%s_' "$family" "$@" | tr -c 'a-zA-Z0-9_.\n' -)
	if [ ! -d "$cache" ]; then
		mkdir -p "${cache%/*}"
		"$MAKE_CHECKPOINT" --quiet --jobs 1 --family "$family" "$@" "$cache.tmp"
		mv -T "$cache.tmp" "$cache"
	fi
	mkdir -p "$dir"
	cp -a "$cache/." "$dir"
}

# make_tensors DIR [OPTIONS…] <<LINES: a made checkpoint from an inventory as text.
make_tensors() {
	local dir=$1
	shift
	"$MAKE_CHECKPOINT" --quiet --jobs 1 --tensors - "$@" "$dir"
}

# index_field FILE FIELD: of a tensor, named as in tensors/, from the mount's index.
index_field() {
	jq -r --arg file "$1" --arg field "$2" \
		'select(.file == $file and has("dtype")) | .[$field] | tostring' "$MNT/.wload/index.jsonl"
}

stats_field() { jq -r --arg field "$1" '.[$field]' "$MNT/.wload/stats.json"; }

# control TEXT: one write to the mount's control file ('\n' ends a line), the answer on stdout.
control() { "$PROBE" control "$MNT/.wload/consume" "$1"; }

# ---- mounts ----------------------------------------------------------------------------------

# Asks the mount table, so that a dead daemon can't block it.
is_mounted() {
	awk -v at="$1" '$2 == at && $3 == "fuse.wloadfs" { found = 1 } END { exit !found }' \
		/proc/self/mounts
}

is_running() { kill -0 "$1" 2>/dev/null; }

# wl_mount CHECKPOINT MOUNTPOINT [OPTIONS…]: a foreground daemon of this test.
wl_mount() {
	local ckpt=$1 mnt=$2 log=$BATS_TEST_TMPDIR/daemon-${#WL_PIDS[@]}.log pid
	shift 2

	[ -x "$WLOADFS" ] || fail "'$WLOADFS' is not built"
	mkdir -p "$mnt"
	# An asynchronous command of a shell ignores SIGINT; a person's terminal would not.
	env --default-signal=INT,QUIT "$WLOADFS" -f "$@" "$ckpt" "$mnt" \
		</dev/null >"$log" 2>&1 3>&- &
	pid=$!
	WL_PIDS[$mnt]=$pid WL_LOGS[$mnt]=$log
	wait_until "is_mounted '$mnt' || ! is_running $pid" || fail "no mount at '$mnt'"
	if ! is_running "$pid"; then
		cat "$log" >&2
		fail "the daemon ended before it mounted '$mnt'"
	fi
	timeout "$WL_DEADLINE" stat "$mnt" >/dev/null || fail "the mount at '$mnt' does not answer"
}

# Fails when a daemon's log tells of a bug.
assert_log_clean() {
	if grep -nE 'ERROR:|AddressSanitizer|runtime error|ThreadSanitizer' "${WL_LOGS[$1]}"; then
		cat "${WL_LOGS[$1]}" >&2
		fail "the daemon's log tells of a bug"
	fi
}

# wl_ended MOUNTPOINT: the daemon must end by itself, with 0 and a clean log, and leave no mount.
wl_ended() {
	local pid=${WL_PIDS[$1]} rc=0

	wait_until "! is_running $pid" || fail "the daemon of '$1' does not end"
	wait "$pid" || rc=$?
	unset "WL_PIDS[$1]"
	assert_log_clean "$1"
	if [ "$rc" != 0 ]; then
		cat "${WL_LOGS[$1]}" >&2
		fail "the daemon of '$1' ended with $rc"
	fi
	if is_mounted "$1"; then
		fail "'$1' is still mounted"
	fi
}

wl_umount() {
	timeout "$WL_DEADLINE" fusermount3 -u "$1" || fail "'$1' can't be unmounted"
	wl_ended "$1"
}

# For every teardown: never fails, leaves nothing of this test mounted or running, tells the logs.
wl_cleanup() {
	local mnt exe log mounts

	# The last mounted first: one may cover, or hold, another.
	mapfile -t mounts < <(awk -v dir="$BATS_TEST_TMPDIR/" 'index($2, dir) == 1 { print $2 }' \
		/proc/self/mounts | tac)
	for mnt in "${mounts[@]}"; do
		timeout 5 fusermount3 -u "$mnt" 2>/dev/null ||
			umount -fci "$mnt" 2>/dev/null || umount -l "$mnt" || true
	done
	for mnt in "${!WL_PIDS[@]}"; do
		wait_until "! is_running ${WL_PIDS[$mnt]}" 5 2>/dev/null ||
			kill -KILL "${WL_PIDS[$mnt]}" 2>/dev/null || true
		wait "${WL_PIDS[$mnt]}" 2>/dev/null || true
	done
	# Daemons that went to the background: those of ours that name this test's folder.
	for exe in /proc/[0-9]*/exe; do
		[ "$(readlink "$exe" 2>/dev/null)" = "$WLOADFS" ] || continue
		if tr '\0' '\n' <"${exe%exe}cmdline" | grep -qF "$BATS_TEST_TMPDIR/"; then
			wait_until "[ ! -e ${exe%/exe}/exe ]" 5 2>/dev/null ||
				kill -KILL "${exe//[^0-9]/}" 2>/dev/null || true
		fi
	done
	for log in "$BATS_TEST_TMPDIR"/daemon-*.log; do
		[ -s "$log" ] && { echo "# ${log##*/}:"; cat "$log"; }
	done
	return 0
}

# The usual ground of a test: a checkpoint at $CKPT, mounted at $MNT.
wl_paths() {
	CKPT=$BATS_TEST_TMPDIR/ckpt
	MNT=$BATS_TEST_TMPDIR/mnt
	REPORT=$BATS_TEST_TMPDIR/report.json
	mkdir -p "$MNT"
}

mount_tiny() {
	make_tiny "${1:-tiny-llama}" "$CKPT" "${@:2}"
	wl_mount "$CKPT" "$MNT"
}

# Skips where the kernel, or who runs this, does not have passthrough anyway.
require_passthrough() {
	local why
	make_tiny tiny-llama "$BATS_TEST_TMPDIR/plain"
	wl_mount "$BATS_TEST_TMPDIR/plain" "$MNT"
	why=$(jq -r .shards.why "$MNT/.wload/stats.json")
	wl_umount "$MNT"
	[ "$why" = null ] || lacks passthrough "no passthrough here: $why"
}

# ---- assertions ------------------------------------------------------------------------------

# assert_errno NAME CALL PATH [PATH2]: NAME may be an extended regular expression.
assert_errno() {
	local want=$1
	shift
	run -0 "$PROBE" errno "$@"
	assert_output --regexp "^($want)\$"
}

# assert_tensor FILE NAME: every byte of the file is the named tensor's.
assert_tensor() {
	run -0 "$PROBE" stamps "$1" "$2"
	assert_output "$(stat -Lc %s "$1")"
}

count_files() { find "$1" -type f | wc -l; }

# load_json ARGS…: loads the mount and leaves its report in $REPORT; field NAME reads it there.
load_json() { "$WLOAD" load "$MNT" --quiet --json "$@" >"$REPORT"; }
field() { jq -r --arg field "$1" '.[$field]' "$REPORT"; }

# ---- memory cgroups ----

# One of version 1, or of version 2 where the root hands the controller on: CGROUP is its folder,
# LIMIT the file of its limit. Whoever makes it removes it (rmdir "$CGROUP").
probe_cgroup() {
	local top

	for top in /sys/fs/cgroup/memory /sys/fs/cgroup; do
		CGROUP=$top/wload-test-$$
		mkdir "$CGROUP" 2>/dev/null || continue
		for LIMIT in memory.limit_in_bytes memory.max; do
			[ ! -w "$CGROUP/$LIMIT" ] || return 0
		done
		rmdir "$CGROUP"
	done
	CGROUP=''
	return 1
}

# limited BYTES COMMAND…: runs it with no more memory than that.
limited() {
	echo "$1" >"$CGROUP/$LIMIT"
	bash -c 'echo $$ >"$0/cgroup.procs" && exec "$@"' "$CGROUP" "${@:2}"
}

# How often the limit was in somebody's way.
limit_hits() {
	if [ -e "$CGROUP/memory.failcnt" ]; then
		cat "$CGROUP/memory.failcnt"
	else
		awk '$1 == "max" { print $2 }' "$CGROUP/memory.events"
	fi
}

# The most memory that the cgroup had, since forget_peak where the kernel can forget it (version 1).
peak_bytes() {
	cat "$CGROUP/memory.max_usage_in_bytes" 2>/dev/null || cat "$CGROUP/memory.peak"
}

forget_peak() {
	[ ! -e "$CGROUP/memory.max_usage_in_bytes" ] || echo 0 >"$CGROUP/memory.max_usage_in_bytes"
}
