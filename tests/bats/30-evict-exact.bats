#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# bats file_tags=mount
# Eviction is exact: after each removal, in any order, of any sizes, whatever read the shard, exactly
# the pages are gone that no live tensor has bytes in. The witnesses are mincore(2) and fincore.

load helper

setup_file() {
	export BATS_TEST_TIMEOUT=240
}

setup() {
	require fuse disk
	wl_paths
	SHARD=$CKPT/model.safetensors
	find_python numpy,safetensors || PYTHON=python3
	seed=${SEED:-$RANDOM}
	echo "SEED=$seed"
}

teardown() {
	wl_cleanup
}

evict_exactly() {
	"$PYTHON" "$BATS_TEST_DIRNAME/../tools/evict_exactly.py" "$MNT" "$CKPT" "$@"
}

# exactly ORDER WHAT [OPTIONS…]: consumes all of a fresh mount.
exactly() {
	local order=$1 what=$2
	shift 2

	sync "$CKPT"/*
	vmtouch -qe "$CKPT" >/dev/null
	wl_mount "$CKPT" "$MNT" "$@"
	run -0 evict_exactly "$order" "$what"
	assert_output exact
	# shellcheck disable=SC2016 # a condition, evaluated there; the last count may be a second old
	wait_until '[ "$(stats_field held_bytes)" = 0 ]'
	wl_umount "$MNT"
}

# COUNT tensors of 700 KiB and a bit, none of which begins on a page.
unaligned() {
	make_tensors "$CKPT" "${@:2}" \
		< <(for ((i = 1; i <= $1; i++)); do echo "t.$i.w U8 $((700 * 1024 + i))"; done)
}

@test "exact: 140 unaligned tensors of 700 KiB, in order, reversed and shuffled" {
	unaligned 140
	for order in in-order reversed "$seed"; do
		exactly "$order" exact
	done
	exactly "$seed" exact -o shards=served
}

@test "exact: 10,000 scalars of 4 bytes between large tensors" {
	make_tensors "$CKPT" < <(for i in {100..119}; do
		echo "m.$i.w U8 $((700 * 1024 + i))"
		for s in {1..500}; do echo "m.$i.s.$s F32"; done
	done)
	exactly in-order exact
	exactly "$seed" exact
}

@test "exact: tensors without a byte, one in the header's page, several shards" {
	make_tensors "$CKPT" --max-shard-size 3MB < <(
		echo 'a.first.w U8 100'
		for i in {1..40}; do
			echo "t.$i.w U8 $((200000 + 1237 * i))"
			echo "t.$i.none F32 0,4"
			echo "t.$i.scale F32"
		done
	)
	assert [ "$(find "$CKPT" -name '*.safetensors' | wc -l)" -gt 2 ]
	for order in in-order reversed "$seed"; do
		exactly "$order" exact
	done
}

# By read(), mmap, safe_open, O_DIRECT and the tensors' own files, between and around removals by
# any of a tensor's names, with restores.
@test "exact: whatever reads in between" {
	make_tensors "$CKPT" --max-shard-size 12MB < <(
		for i in {1..60}; do
			echo "t.$i.w U8 $((500000 + (i * 7919 + seed) % 400000))"
			echo "s.$i.w F32"
			[ $((i % 7)) != 0 ] || echo "e.$i.w BF16 0,8"
		done
	)
	exactly "$seed" readers
	exactly "$((seed + 1))" readers -o shards=served
	exactly "$((seed + 2))" readers -o no_direct_mmap
}

# Python's safe_open maps the whole shard; what it faulted in is in folios of 2 MiB.
@test "exact: large folios that a mapping through passthrough built" {
	require pypi
	unaligned 60
	sync "$CKPT"/*
	vmtouch -qe "$CKPT" >/dev/null
	wl_mount "$CKPT" "$MNT"
	run -0 "$PYTHON" - "$MNT/model.safetensors" <<-'PY'
		import sys
		from safetensors import safe_open
		with safe_open(sys.argv[1], "numpy") as f:
		    print(sum(int(f.get_tensor(name)[-1]) >= 0 for name in f.keys()))
	PY
	assert_output 60
	run -0 evict_exactly "$seed" exact
	assert_output exact
	wl_umount "$MNT"
}

@test "exact: without splitting folios, what is left is counted, and gone at the end" {
	unaligned 100
	exactly "$seed" held -o no_split
	exactly "$((seed + 1))" held -o no_split,no_cachestat
	exactly "$((seed + 2))" exact -o no_cachestat
}

@test "exact: a daemon without rights over the files forgets nothing" {
	local left=60
	require root
	unaligned 60
	sync "$CKPT"/*
	chown -R 12345 "$CKPT"
	printf '#!/bin/sh\nexec setpriv --bounding-set %s "%s" "$@"\n' -fowner,-dac_override \
		"$WLOADFS" >"$BATS_TEST_TMPDIR/wloadfs"
	chmod +x "$BATS_TEST_TMPDIR/wloadfs"
	"$BATS_TEST_TMPDIR/wloadfs" --version >/dev/null || skip 'capabilities cannot be dropped here'
	WLOADFS=$BATS_TEST_TMPDIR/wloadfs wl_mount "$CKPT" "$MNT"
	cat "$SHARD" >/dev/null
	for i in $(seq 60 | shuf --random-source=<(yes "$seed")); do
		rm "$MNT/tensors/t.$i.w"
		left=$((left - 1))
		[ "$left" = 0 ] || assert [ "$(stats_field held_bytes)" -gt 0 ]
	done
	# shellcheck disable=SC2016 # a condition, evaluated there
	wait_until '[ "$(stats_field held_bytes)" = 0 ]'
	run -0 fincore -n -o PAGES "$SHARD"
	assert_equal "$((output))" 0
	wl_umount "$MNT"
}

# One maps the tensors, four read them all the while; the daemon has one worker.
@test "exact: consumed while mapped by one process and read by four, one worker" {
	make_tensors "$CKPT" < <(for i in {1..12}; do echo "t.$i U8 $((4096 * 1024 + i))"; done)
	sync "$CKPT"/*
	for options in rw shards=served no_direct_mmap; do
		wl_mount "$CKPT" "$MNT" -s -o "$options"
		run -0 timeout 60 python3 "$BATS_TEST_DIRNAME/../tools/consume_under_readers.py" "$MNT"
		# shellcheck disable=SC2016 # a condition, evaluated there
		wait_until '[ "$(fincore -n -o PAGES "$SHARD")" -eq 0 ]'
		# shellcheck disable=SC2016 # a condition, evaluated there
		wait_until '[ "$(stats_field held_bytes)" = 0 ]'
		wl_umount "$MNT"
	done
}
