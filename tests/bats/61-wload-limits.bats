#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# bats file_tags=mount
# wload on mounts where something is in the way: shards that change, mounts that may not be consumed
# from, others who consume too, disks and memory that are too small. What can't be done is refused
# before anything is consumed, and what is reported is what happened.

# shellcheck disable=SC2154 # run sets stderr
load helper

setup() {
	require fuse
	wl_paths
	OUT=$BATS_TEST_TMPDIR/out
}

teardown() {
	[ -z "${LOADER-}" ] || kill -KILL "$LOADER" 2>/dev/null || true
	wl_cleanup
	umount "$BATS_TEST_TMPDIR/small" 2>/dev/null || true
}

# assert_refused REGEX ARGS…: the load fails so, with nothing consumed.
assert_refused() {
	local want=$1
	shift
	run --separate-stderr -1 "$WLOAD" "$MNT" --quiet "$@"
	assert_equal "${#stderr_lines[@]}" 1
	assert_regex "$stderr" "$want"
	assert_equal "$(stats_field consumed_tensors)" 0
}

# ---- shards that change ----------------------------------------------------------------------

@test "load: a shard that was changed in place after mounting is refused" {
	mount_tiny
	printf X | dd of="$CKPT/model.safetensors" bs=1 seek=60000 conv=notrunc status=none
	assert_refused "shard 'model.safetensors' changed since" --device host
	wl_umount "$MNT"
}

@test "load: a shard that was replaced is loaded as it was mounted" {
	mount_tiny
	cp -a "$CKPT" "$CKPT.was"
	cp "$CKPT/model.safetensors" "$CKPT/new"
	printf X | dd of="$CKPT/new" bs=1 seek=60000 conv=notrunc status=none
	mv "$CKPT/new" "$CKPT/model.safetensors"
	load_json --device host --verify --out "$OUT"
	run -0 python3 "$WL_ROOT/tests/oracles/plan_oracle.py" "$CKPT.was" "$OUT"
	assert_equal "$(field consumed_tensors)" 30
	wl_umount "$MNT"
}

# ---- who may consume -------------------------------------------------------------------------

@test "load: a read-only mount is refused with a hint, and loaded without consuming" {
	make_tiny tiny-llama "$CKPT"
	wl_mount "$CKPT" "$MNT" -o ro
	assert_refused 'Read-only file system; it can be loaded with --no-consume$' --device host
	load_json --device host --no-consume --verify
	assert_equal "$(field consumed_tensors)" 0
	wl_umount "$MNT"
}

@test "load: another user's mount is refused with a hint" {
	require root
	make_tiny tiny-llama "$CKPT"
	wl_mount "$CKPT" "$MNT" -o allow_other
	chmod -R a+rX "$CKPT"
	chmod a+x "$BATS_RUN_TMPDIR" "$BATS_TEST_TMPDIR" "$BATS_TEST_TMPDIR"/..
	run --separate-stderr -1 setpriv --reuid=65534 --regid=65534 --clear-groups \
		"$WLOAD" "$MNT" --device host --quiet
	assert_regex "$stderr" 'Permission denied; it can be loaded with --no-consume$'
	assert_equal "$(stats_field consumed_tensors)" 0
	wl_umount "$MNT"
}

# ---- others who consume ----------------------------------------------------------------------

@test "load: what was consumed before is not counted as its own" {
	make_tiny tiny-llama "$CKPT"
	sed -i 's/"tie_word_embeddings": false/"tie_word_embeddings": true/' "$CKPT/config.json"
	wl_mount "$CKPT" "$MNT"
	run -0 "$WLOAD" consume "$MNT" --key lm_head.weight
	before=$(stats_field consumed_bytes)
	load_json --device host
	assert_equal "$(field consumed_tensors)" 29
	assert_equal "$(field consumed_bytes)" $(($(stats_field consumed_bytes) - before))
	wl_umount "$MNT"
}
