#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# bats file_tags=mount
# wload stats --watch: blocks, a terminal, and how it ends.

load helper

setup() {
	require fuse
	wl_paths
	SEEN=$BATS_TEST_TMPDIR/seen
}

teardown() {
	[ -z "${WATCHER-}" ] || kill -KILL "$WATCHER" 2>/dev/null || true
	wl_cleanup
}

# start_watch: in the background, into $SEEN. A shell's background job would ignore SIGINT.
start_watch() {
	env --default-signal=INT "$WLOAD" stats "$MNT" --watch --interval 0.1 >"$SEEN" 2>&1 3>&- &
	WATCHER=$!
	wait_until "grep -q 'tensors, .* consumed' '$SEEN'"
}

# The watch ends by itself with that status.
assert_ends() {
	local rc=0

	wait_until "! is_running $WATCHER"
	wait "$WATCHER" || rc=$?
	WATCHER=
	assert_equal "$rc" "$1"
}

@test "watch: blocks where there is no terminal, as tensors go; an interrupt is success" {
	mount_tiny
	start_watch
	run -0 grep -c '^\[[#=]*\] 0 of 30 tensors, 0 B of 6.46 MB consumed$' "$SEEN"
	run -0 "$WLOAD" consume "$MNT" model.layers.0
	wait_until "grep -q '^\[\.*[#=]*\] 9 of 30 tensors' '$SEEN'"
	run -0 "$WLOAD" consume "$MNT" --all
	wait_until "grep -q '^\[\.*\] 30 of 30 tensors, 6.46 MB of 6.46 MB consumed$' '$SEEN'"
	kill -INT "$WATCHER"
	assert_ends 0
	run ! grep -q $'\e' "$SEEN"
	wl_umount "$MNT"
}

@test "watch: it says so and ends when the mount goes, which it does not hold" {
	mount_tiny
	start_watch
	wait_until "fusermount3 -u '$MNT' 2>/dev/null"
	wl_ended "$MNT"
	assert_ends 0
	assert_equal "$(tail -n 1 "$SEEN")" "'$MNT' is no longer mounted"
}

@test "watch: a daemon that died is a failure that says how to clear it" {
	local pid

	mount_tiny
	start_watch
	pid=${WL_PIDS[$MNT]}
	unset "WL_PIDS[$MNT]"
	kill -KILL "$pid"
	assert_ends 1
	run -0 tail -n 1 "$SEEN"
	assert_output --partial "wload: '$MNT' is a wloadfs mount whose daemon is gone"
}

@test "watch: a layer for each of 160,000 tensors" {
	[ "${BUILD:-release}" = release ] || skip "a build of $BUILD takes longer than a test may"
	seq -f 'block.%.0f U8 8' 0 159999 | make_tensors "$CKPT" --sparse
	wl_mount "$CKPT" "$MNT"
	start_watch
	wait_until "grep -q '^block.159999 ' '$SEEN'"
	kill -INT "$WATCHER"
	assert_ends 0
	wl_umount "$MNT"
}

@test "watch: killed as any other command" {
	mount_tiny
	start_watch
	kill -TERM "$WATCHER"
	assert_ends 143
	wl_umount "$MNT"
}

@test "watch: an interrupt ends it while the daemon answers nothing" {
	mount_tiny
	start_watch
	kill -STOP "${WL_PIDS[$MNT]}"
	wait_until "readlink /proc/$WATCHER/fd/* | grep -qx '$MNT'" # in a look
	kill -INT "$WATCHER"
	assert_ends 0
	kill -CONT "${WL_PIDS[$MNT]}"
	wl_umount "$MNT"
}

@test "watch: redrawn in place on a terminal, a bar for every layer the mount tells of" {
	command -v script >/dev/null || skip "no script(1) here"
	mount_tiny
	TERM=xterm timeout --preserve-status -s INT 1 \
		script -qec "stty rows 50 cols 100; '$WLOAD' stats '$MNT' --watch --interval 0.1" \
		/dev/null </dev/null >"$SEEN" 2>&1 || true
	run -0 grep -c $'\e\\[J\e\\[[0-9]*A' "$SEEN"
	run -0 grep -c '^model.layers.1 .*\[[#=]*\]      9 left' "$SEEN"
	wl_umount "$MNT"
}

@test "watch: words that make no sense are one line" {
	run -2 "$WLOAD" stats "$MNT" --watch --json
	assert_output 'wload: stats: --watch draws, --json prints once; want one of them'
	run -2 "$WLOAD" stats "$MNT" --interval 2
	assert_output 'wload: --interval: is between the looks of --watch, which is missing'
	run -2 "$WLOAD" stats "$MNT" --watch --interval 0
	assert_output "wload: --interval: '0' is not a number of seconds from 0.1 to 3600"
	run -1 "$WLOAD" stats "$MNT" --watch
	assert_output "wload: '$MNT' is not a wloadfs mount"
}
