#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# bats file_tags=mount
# wload on a rank's folder of a mount (-o ranks=N): it is told from every other folder, its load
# drops its claims alone, and the last claim evicts.

load helper

setup() {
	require fuse
	wl_paths
}

teardown() {
	wl_cleanup
}

# refused LINE ARGS…: one line, exit 1, nothing consumed.
refused() {
	run --separate-stderr -1 "$WLOAD" "${@:2}"
	# shellcheck disable=SC2154 # run sets stderr
	assert_equal "$stderr" "wload: $1"
	assert_equal "$(stats_field consumed_tensors)" 0
}

inside() {
	echo "'$1' lies inside of the wloadfs mount at '$MNT'$2; name its root, or ranks/R of one with ranks"
}

@test "ranks: a mount without ranks has none, whatever the checkpoint's folders are called" {
	make_tiny tiny-llama "$CKPT"
	mkdir -p "$CKPT/ranks/0/.wload"
	echo '{"rank": 0}' >"$CKPT/ranks/0/.wload/stats.json"
	wl_mount "$CKPT" "$MNT"
	refused "$(inside "$MNT/ranks/0" ", and is no rank's folder")" consume "$MNT/ranks/0" --all
	refused "$(inside "$MNT/ranks" '')" load "$MNT/ranks" --device null --quiet
	refused "the mount at '$MNT' has no ranks (-o ranks=N)" release "$MNT" --rank 0
	wl_umount "$MNT"
}

@test "release: what is no mount, and a rank that is missing, are one line" {
	make_tiny tiny-llama "$CKPT"
	run -1 "$WLOAD" release "$CKPT" --rank 0
	assert_output "wload: '$CKPT' is not a wloadfs mount"
	run -2 "$WLOAD" release "$CKPT"
	assert_output 'wload: release: --rank R is missing'
	run -2 "$WLOAD" release "$CKPT" --rank -1
	assert_output "wload: --rank: '-1' is not a number from 0 to 4294967295"
}
