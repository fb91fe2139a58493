#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# bats file_tags=mount
# `make demo CKPT=…` on checkpoints that are not the demo's: whatever they hold, it shows it, runs
# nothing out of it, and leaves nothing mounted.

load helper

setup() {
	require fuse
	wl_paths
	# The demo's mount lies here, so that teardown finds one that is left.
	export TMPDIR=$BATS_TEST_TMPDIR/tmp
	mkdir "$TMPDIR"
}

teardown() {
	wl_cleanup
}

demo() { timeout 50 "$WL_ROOT/scripts/demo" "$@" </dev/null 3>&-; }

assert_nothing_left() {
	run ! grep -F "$TMPDIR/" /proc/self/mounts
	assert_equal "$(ls -A "$TMPDIR")" ''
}

@test "demo: a checkpoint of one's own" {
	make_tiny tiny-llama "$CKPT"
	run -0 demo "$CKPT"
	assert_line --regexp '^\$ wloadfs /.*/ckpt /.*/mnt$'
	assert_line --regexp '^\$ rm /.*/tensors/lm_head.weight$'
	assert_line --partial 'numpy as np; a = np.load(sys.argv[1]'
	assert_nothing_left
}

@test "demo: a folder with blanks and names that are shell code are only names" {
	local folder="$BATS_TEST_TMPDIR/my \$(touch PWNED) 'ckpt'; touch PWNED" at
	# shellcheck disable=SC2016 # code, as a name
	make_tensors "$folder" <<-'LINES'
		"$(touch PWNED)" F32 64,64
		"`touch PWNED`" F32 64,32
		"'; touch PWNED; '\"" F32 64,16
		"-rf" F32 4,4
		"a\nb \u001b[2J*" F32 4,4
	LINES
	run -0 demo "$folder"
	assert_line --regexp "^\\$ rm '/.*/tensors/\\$\\(touch PWNED\\)'\$"
	for at in "$WL_ROOT" "$BATS_TEST_TMPDIR" "$PWD"; do
		assert_not_exists "$at/PWNED"
	done
	assert_nothing_left
}

@test "demo: a checkpoint without a tensor" {
	make_tensors "$CKPT" </dev/null
	run -0 demo "$CKPT"
	assert_line '# It holds no tensor'
	refute_output --partial Traceback
	assert_nothing_left
}

@test "demo: one file, of tensors that NumPy cannot map" {
	make_tensors "$CKPT" <<<$'e F32 0,4\nf F4 8'
	run -0 demo "$CKPT/model.safetensors"
	assert_nothing_left
}

@test "demo: no checkpoint there is a failure" {
	run ! demo "$BATS_TEST_TMPDIR/none"
	assert_output --partial 'nothing is left mounted'
	assert_nothing_left
}

@test "demo: interrupted at any moment it leaves nothing mounted" {
	make_tiny tiny-llama "$CKPT"
	local interrupted=0
	for delay in 0.02 0.05 0.1 0.2 0.4; do
		for signal in INT TERM; do
			rm -f "$BATS_TEST_TMPDIR/shown"
			# As a terminal does: to the whole group, of which the demo is the first.
			env --default-signal=INT,QUIT setsid "$WL_ROOT/scripts/demo" "$CKPT" \
				</dev/null >"$BATS_TEST_TMPDIR/shown" 2>&1 3>&- &
			pid=$!
			wait_until "[ -s '$BATS_TEST_TMPDIR/shown' ]"
			sleep "$delay" # any moment will do
			kill -s "$signal" -- "-$pid" 2>/dev/null || true # it may have ended
			wait "$pid" && rc=0 || rc=$?
			assert_regex "$rc" '^(0|130|143)$'
			interrupted=$((interrupted + (rc != 0)))
			assert_nothing_left
		done
	done
	assert [ "$interrupted" -ge 4 ]
}
